// What is wrong with a command line that its CLI11 parser refused, said for people.
#ifndef MERGANSER_COMMON_CLI_USAGE_ERROR_H_
#define MERGANSER_COMMON_CLI_USAGE_ERROR_H_

#include <string>

#include "CLI/CLI.hpp"

namespace merganser {

// One line without "error:": the verb or flag that is nearest to a misspelt one, else what CLI11 says, and whose --help
// tells more. `argv` is what `app` was given to parse.
std::string UsageError(const CLI::App& app, const CLI::ParseError& error, int argc, const char* const* argv);

// Prints what `error` stands for: help or version to stdout, where it was asked for; else to stderr "error: " and what
// UsageError says, or the help of a program or verb that was named without one of its verbs. True if nothing was wrong.
bool ExplainParseError(const CLI::App& app, const CLI::ParseError& error, int argc, const char* const* argv);

}  // namespace merganser

#endif  // MERGANSER_COMMON_CLI_USAGE_ERROR_H_
