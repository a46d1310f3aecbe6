// Regular expressions that users write: PCRE with bounds on time and memory, with the results of Python's `re`.
#ifndef MERGANSER_WORKER_BENCHMARK_REGEX_H_
#define MERGANSER_WORKER_BENCHMARK_REGEX_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace merganser {

// Immutable, thread-safe.
class Regex {
 public:
  // Unicode classes and UTF-8, as Python's str patterns. InvalidArgument: "pattern 'x(': what, at 2".
  static absl::StatusOr<Regex> Compile(absl::string_view pattern);

  // re.findall(): the whole matches of a pattern without groups, else one list of all groups a match ("" for a group that
  // took no part). Invalid UTF-8 is read as U+FFFD. A search that would take too long ends with what it has found.
  std::vector<std::vector<std::string>> FindAll(absl::string_view text) const;

  // re.sub(pattern, "", text).
  std::string Without(absl::string_view text) const;

 private:
  struct Free {
    void operator()(void* code) const;
  };
  explicit Regex(void* code) : code_(code) {}

  // Calls use(begin, end, ovector) for each match.
  template <typename Use>
  void ForEach(absl::string_view text, const Use& use) const;

  std::unique_ptr<void, Free> code_;  // pcre2_code
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_BENCHMARK_REGEX_H_
