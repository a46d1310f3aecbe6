// How a number is read off a completion. The rules repeat published scorers to the letter, traps
// included, because their scores are compared with published ones.
#ifndef MERGANSER_WORKER_BENCHMARK_NUMBER_RULE_H_
#define MERGANSER_WORKER_BENCHMARK_NUMBER_RULE_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace merganser {

struct ExtractedNumber {
  std::string text;  // as the original prints it: "18.0" (sakana), "18" (jp_lmeh)
  double value = 0;
};

// A compiled rule. Immutable, thread-safe, lives as long as the process.
//
// - "sakana": the last match of `\d*\.?\d+`, where \d is any Unicode decimal digit, as a float. So commas split a number
//   ("1,234" is 234, "1,000" is 0), signs are ignored, "1.2.3" is .3, "１２" is 12.
// - "jp_lmeh": the last match of `-?[0-9.,]+`, '.' stripped at both ends, ',' dropped; nothing unless that is an integer
//   ("5.0" is 5, "1.5" and "1.2.3" are nothing; an earlier match is not tried).
class NumberRule {
 public:
  // InvalidArgument with the known names if `name` is not one of them.
  static absl::StatusOr<const NumberRule*> ByName(absl::string_view name);
  static const std::vector<std::string>& Names();

  NumberRule(const NumberRule&) = delete;
  NumberRule& operator=(const NumberRule&) = delete;

  // The number that `completion` ends with by this rule, nullopt if it has none. Bytes that are not
  // UTF-8 match nothing. Time is linear in the length.
  std::optional<ExtractedNumber> Extract(absl::string_view completion) const;

 private:
  using Reader = std::optional<ExtractedNumber> (*)(absl::string_view match);

  NumberRule(absl::string_view pattern, Reader reader);

  // pcre2_code* and pcre2_match_context*, whose types need a macro set before pcre2.h.
  void* code_ = nullptr;
  void* context_ = nullptr;
  Reader reader_;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_BENCHMARK_NUMBER_RULE_H_
