// store verify, backup, restore, migrate.
#ifndef MERGANSER_CLIENT_STORE_COMMAND_H_
#define MERGANSER_CLIENT_STORE_COMMAND_H_

#include "client/verb.h"

namespace merganser {

void AddStoreCommand(CLI::App& app, Action* chosen);

}  // namespace merganser

#endif  // MERGANSER_CLIENT_STORE_COMMAND_H_
