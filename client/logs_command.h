// `merganser logs`: what happened to one candidate.
#ifndef MERGANSER_CLIENT_LOGS_COMMAND_H_
#define MERGANSER_CLIENT_LOGS_COMMAND_H_

#include "client/verb.h"

namespace merganser {

void AddLogsCommand(CLI::App& app, Action* chosen);

}  // namespace merganser

#endif  // MERGANSER_CLIENT_LOGS_COMMAND_H_
