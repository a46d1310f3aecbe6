// What is wrong with a command line that its CLI11 parser refused, said for people.
#ifndef MERGANSER_COMMON_CLI_USAGE_ERROR_H_
#define MERGANSER_COMMON_CLI_USAGE_ERROR_H_

#include <map>
#include <string>

#include "CLI/CLI.hpp"

namespace merganser {

// The verbs by which other programs call what this one does: "ps" -> "jobs".
using ForeignVerbs = std::map<std::string, std::string>;

// One line without "error:": the verb, flag or choice that is nearest to a misspelt one (or the verb that `foreign` has for
// it), else what CLI11 says, and whose --help tells more. `argv` is what `app` was given to parse.
std::string UsageError(const CLI::App& app, const CLI::ParseError& error, int argc, const char* const* argv,
                       const ForeignVerbs& foreign = {});

// Prints what `error` stands for: help or version to stdout, where it was asked for; else to stderr "error: " and what
// UsageError says, or the help of a program or verb that was named without one of its verbs. True if nothing was wrong.
bool ExplainParseError(const CLI::App& app, const CLI::ParseError& error, int argc, const char* const* argv,
                       const ForeignVerbs& foreign = {});

}  // namespace merganser

#endif  // MERGANSER_COMMON_CLI_USAGE_ERROR_H_
