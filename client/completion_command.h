// `merganser completion`: shell completions, made from all the other verbs.
#ifndef MERGANSER_CLIENT_COMPLETION_COMMAND_H_
#define MERGANSER_CLIENT_COMPLETION_COMMAND_H_

#include "client/verb.h"

namespace merganser {

// completion SHELL: prints a script that completes the verbs of `app`, those that are added later too.
void AddCompletionCommand(CLI::App& app, Action* chosen);

}  // namespace merganser

#endif  // MERGANSER_CLIENT_COMPLETION_COMMAND_H_
