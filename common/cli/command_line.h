// A program's command line as plain data, read off its CLI11 parser: what completions and man pages are made from, so that
// they cannot disagree with --help.
#ifndef MERGANSER_COMMON_CLI_COMMAND_LINE_H_
#define MERGANSER_COMMON_CLI_COMMAND_LINE_H_

#include <string>
#include <vector>

#include "CLI/CLI.hpp"

namespace merganser {

struct CommandLineFlag {
  std::vector<std::string> names;    // as typed, short ones first: "-o", "--format"
  std::string value;                 // what it takes, "TEXT"; empty: nothing
  std::vector<std::string> choices;  // the only values; empty: any
  std::string default_value;         // empty: none is shown
  std::string help;
};

struct CommandLineArgument {
  std::string name;  // "JOB", "JOB.yaml"
  bool required = false;
  std::string help;
};

struct CommandLine {
  std::string name;
  std::string purpose;
  std::string footer;  // free text: examples, exit codes
  std::vector<CommandLineFlag> flags;
  std::vector<CommandLineArgument> arguments;
  std::vector<CommandLine> verbs;
};

// Options of the empty group are hidden, here as in --help. `app` has not parsed anything yet.
CommandLine DescribeCommandLine(const CLI::App& app);

}  // namespace merganser

#endif  // MERGANSER_COMMON_CLI_COMMAND_LINE_H_
