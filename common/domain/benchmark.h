// What a job says about a benchmark: a built-in definition (`use`) and what it overrides. worker/benchmark resolves it.
#ifndef MERGANSER_COMMON_DOMAIN_BENCHMARK_H_
#define MERGANSER_COMMON_DOMAIN_BENCHMARK_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace merganser {

// Unset fields keep the built-in's value.
struct BenchmarkSpec {
  std::string name;                              // its key in the job: names results, metrics and objectives
  std::string use;                               // what it extends: a built-in ("mgsm_ja") or another benchmark of the job
  std::string data;                              // .jsonl or MGSM .tsv; absolute once the client has read the job file
  std::optional<std::string> prompt;             // Jinja over the sample's fields
  std::optional<int> max_new_tokens;             // tokens
  std::optional<std::vector<std::string>> stop;  // generation ends at the first of these; not part of the completion
  std::optional<std::string> extract;            // number rule: "sakana" or "jp_lmeh"
  std::optional<std::string> language;           // completions must be in it to count in acc_<language>: "ja"; "" for none
  std::optional<int64_t> limit;                  // only the first `limit` samples
  std::string question_field = "question";
  std::string answer_field = "answer";

  bool operator==(const BenchmarkSpec&) const = default;
};

}  // namespace merganser

#endif  // MERGANSER_COMMON_DOMAIN_BENCHMARK_H_
