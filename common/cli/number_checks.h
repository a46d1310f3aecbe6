// Checks of numbers on a command line; CLI11's own name the largest double, all 309 digits of it, as the bound.
#ifndef MERGANSER_COMMON_CLI_NUMBER_CHECKS_H_
#define MERGANSER_COMMON_CLI_NUMBER_CHECKS_H_

#include <string>

#include "CLI/CLI.hpp"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace merganser {

inline CLI::Validator PositiveNumber() {
  return CLI::Validator(
      [](std::string& value) -> std::string {
        double number = 0;
        return absl::SimpleAtod(value, &number) && number > 0 ? "" : absl::StrCat("'", value, "' is not a number above 0");
      },
      "POSITIVE");
}

inline CLI::Validator NonNegativeNumber() {
  return CLI::Validator(
      [](std::string& value) -> std::string {
        double number = 0;
        return absl::SimpleAtod(value, &number) && number >= 0 ? ""
                                                               : absl::StrCat("'", value, "' is not a number of at least 0");
      },
      "NONNEGATIVE");
}

}  // namespace merganser

#endif  // MERGANSER_COMMON_CLI_NUMBER_CHECKS_H_
