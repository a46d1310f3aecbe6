// Shell completions of a program with verbs.
#ifndef MERGANSER_COMMON_CLI_COMPLETION_H_
#define MERGANSER_COMMON_CLI_COMPLETION_H_

#include <string>

#include "common/cli/command_line.h"

namespace merganser {

enum class Shell { kBash, kZsh, kFish };

// A script that completes verbs, flags, the values of flags that have a fixed set, and, for arguments called JOB or WORKER,
// what `NAME jobs` or `NAME workers` lists (waiting at most two seconds for it); files anywhere else. It can be sourced, and
// installed where the shell looks for completions.
std::string CompletionScript(const CommandLine& program, Shell shell);

}  // namespace merganser

#endif  // MERGANSER_COMMON_CLI_COMPLETION_H_
