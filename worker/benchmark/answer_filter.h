// What is read off a completion before it is compared with the reference.
#ifndef MERGANSER_WORKER_BENCHMARK_ANSWER_FILTER_H_
#define MERGANSER_WORKER_BENCHMARK_ANSWER_FILTER_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "worker/benchmark/number_rule.h"
#include "worker/benchmark/regex.h"
#include "worker/benchmark/settings.h"

namespace merganser {

// Which of a prompt's completions count, by their order: the first ones, or the first of those that say what most of them
// say.
struct AnswerChoice {
  int first = 0;      // 0: all
  bool vote = false;  // of these, among as many the answer that came first

  bool operator==(const AnswerChoice&) const = default;
};

// What the steps of `spec` come to. InvalidArgument: "step 3: take_first_k ..." where one chooses among what one before has
// chosen already, or from fewer than `completions`.
absl::StatusOr<AnswerChoice> ChoiceOfCompletions(const FilterSpec& spec, int completions);

// The steps of a FilterSpec, in order. Immutable, thread-safe.
class AnswerFilter {
 public:
  // InvalidArgument: "filter 'strict', step 1: pattern ...", an unknown number rule.
  static absl::StatusOr<AnswerFilter> Create(const FilterSpec& spec);

  const std::string& name() const { return name_; }
  // True if Apply reads the sample's choices.
  bool needs_choices() const;

  // A regex step takes the match that it selects: of a pattern with groups the first group that is not empty, stripped, and
  // its fallback if there is no such match (lm-evaluation-harness's RegexFilter).
  // A choice regex (its MultiChoiceRegexFilter) does the same; where that finds nothing it looks for the text of one of
  // `choices`, a longer one first, without what is to be ignored, and then for ": A"; what it gives for a choice is "(A)",
  // "(B)" ... `choices`: the sample's, at most 26.
  // Steps that choose among completions leave each of them as it is. `ballot`: the text that a majority vote counts.
  std::string Apply(absl::string_view completion, absl::Span<const std::string> choices = {},
                    std::string* ballot = nullptr) const;

 private:
  struct Step {
    FilterStep spec;
    std::vector<Regex> regex;            // kRegex, kChoiceRegex: one
    std::vector<Regex> ignored;          // kChoiceRegex
    const NumberRule* number = nullptr;  // kNumber
  };

  std::string name_;
  std::vector<Step> steps_;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_BENCHMARK_ANSWER_FILTER_H_
