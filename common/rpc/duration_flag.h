// Durations on a command line: "500ms", "10s", "1h30m"; a plain number means seconds.
#ifndef MERGANSER_COMMON_RPC_DURATION_FLAG_H_
#define MERGANSER_COMMON_RPC_DURATION_FLAG_H_

#include <CLI/CLI.hpp>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"

namespace merganser {

// False unless `text` is a finite duration of at least 0.
inline bool ParseDurationFlag(const std::string& text, absl::Duration* duration) {
  double seconds;
  if (absl::SimpleAtod(text, &seconds)) {
    *duration = absl::Seconds(seconds);
  } else if (!absl::ParseDuration(text, duration)) {
    return false;
  }
  return *duration >= absl::ZeroDuration() && *duration < absl::InfiniteDuration();
}

// `duration` holds the default, shown in the help where finite.
inline CLI::Option* AddDurationFlag(CLI::App* app, const std::string& name, absl::Duration* duration, std::string help) {
  CLI::Option* const option = app->add_option_function<std::string>(
      name,
      [name, duration](const std::string& text) {
        if (!ParseDurationFlag(text, duration)) {
          throw CLI::ValidationError(name, absl::StrCat("'", text, "' is no duration, such as 500ms, 10s or 1h30m"));
        }
      },
      std::move(help));
  if (*duration < absl::InfiniteDuration()) option->default_str(absl::FormatDuration(*duration));
  return option->type_name("DURATION");
}

}  // namespace merganser

#endif  // MERGANSER_COMMON_RPC_DURATION_FLAG_H_
