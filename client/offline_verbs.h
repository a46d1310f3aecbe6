// Verbs that work on recorded results alone: no model, no server.
#ifndef MERGANSER_CLIENT_OFFLINE_VERBS_H_
#define MERGANSER_CLIENT_OFFLINE_VERBS_H_

#include "client/verb.h"

namespace merganser {

void AddPoolCommand(CLI::App& app, Action* chosen);
void AddReplayCommand(CLI::App& app, Action* chosen);

}  // namespace merganser

#endif  // MERGANSER_CLIENT_OFFLINE_VERBS_H_
