// Manual pages in roff, made from the command line itself.
#ifndef MERGANSER_COMMON_CLI_MAN_PAGE_H_
#define MERGANSER_COMMON_CLI_MAN_PAGE_H_

#include <string>

#include "CLI/CLI.hpp"
#include "common/cli/command_line.h"

namespace merganser {

// The page of section 1: name, synopsis, description, options, a subsection per verb, and the footer's text.
std::string ManPage(const CommandLine& program);

// True after printing the page of `app` to stdout, if the only argument is --man-page: what the build makes the pages with.
bool PrintedManPage(const CLI::App& app, int argc, const char* const* argv);

}  // namespace merganser

#endif  // MERGANSER_COMMON_CLI_MAN_PAGE_H_
