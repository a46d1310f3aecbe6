// One item of a benchmark, whichever kind of file it came from.
#ifndef MERGANSER_WORKER_BENCHMARK_SAMPLE_H_
#define MERGANSER_WORKER_BENCHMARK_SAMPLE_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace merganser {

struct Sample {
  int64_t line = 0;         // in its file, from 1
  std::string question;     // "" where the file need not have one (completions)
  std::string answer;       // with a number rule a JSON number: "18", "5600", "0.5"
  double answer_value = 0;  // the same, for comparing
  std::string fields_json;  // all fields of the item as one JSON object; what the prompt template sees
  // Where filters and metrics score instead of a number rule:
  std::vector<std::string> references;  // any of them is right; the first is `answer`
  std::vector<std::string> choices;     // multiple choice
  std::vector<int> gold;                // indices of the right choices, usually one
};

// How likely the model finds a continuation; natural logarithm.
struct ContinuationScore {
  double log_likelihood = 0;
  bool is_greedy = false;  // greedy decoding would give exactly it
};

struct AnswerNumber {
  std::string text;  // a JSON number
  double value = 0;
};

// A reference answer: a JSON number, or a string of one as MGSM ("5,600") and GSM8K ("... #### 18",
// the part after the last "####") write it; commas must separate groups of three digits.
// InvalidArgument, without the place: "field 'answer' is null, not a number", "field 'answer' is
// '1,5', not a number".
absl::StatusOr<AnswerNumber> ParseAnswer(absl::string_view field, const nlohmann::ordered_json& value);

// The shortest JSON number for `value`: "18", "0.5". REQUIRES: finite.
std::string NumberText(double value);

}  // namespace merganser

#endif  // MERGANSER_WORKER_BENCHMARK_SAMPLE_H_
