// What an evaluation yields: per benchmark the metrics and each sample's outcome, kept for ever in the result record.
#ifndef MERGANSER_COMMON_DOMAIN_EVALUATION_H_
#define MERGANSER_COMMON_DOMAIN_EVALUATION_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace merganser {

struct SampleOutcome {
  std::string question;
  std::string answer;
  std::string completion;
  std::string prediction;  // what the extraction rule found; "" if nothing
  bool correct = false;    // counts in the benchmark's strictest metric (acc_ja for mgsm_ja)
  std::map<std::string, double>
      values;  // per-sample share of each metric and diagnostics: {"acc": 1, "acc_ja": 0, "p_ja": 0.12}
  bool operator==(const SampleOutcome&) const = default;
};

struct BenchmarkResult {
  std::string benchmark;
  std::map<std::string, double> metrics;  // {"acc": 0.58, "acc_ja": 0.56}
  std::vector<SampleOutcome> samples;     // in the data's order
  std::vector<int64_t> numbers = {};      // which of the benchmark's samples those are, ascending; empty: all of them
  bool operator==(const BenchmarkResult&) const = default;
};

// Where the time of one candidate went, seconds.
struct PhaseTimings {
  double materialize = 0, tokenize = 0, prefill = 0, decode = 0, score = 0, record = 0;
  bool operator==(const PhaseTimings&) const = default;
};

struct Evaluation {
  std::vector<BenchmarkResult> results;
  PhaseTimings timings;
  int64_t prompt_tokens = 0;
  int64_t generated_tokens = 0;
  int64_t merged_bytes = 0;    // of weights made for it; 0 where it took those of the candidate before, or a source's own
  std::string weights_sha256;  // of the merged weights as stored, tensor by tensor in name order; "" if not asked for
  bool operator==(const Evaluation&) const = default;
};

// What a worker finds when it loads a job: shown by `validate` and the first screen of `run`, and all that the coordinator
// knows of the checkpoints.
struct JobFacts {
  int num_layers = 0;
  int64_t parameters = 0;                        // weights of one model
  int64_t resident_bytes = 0;                    // sources held in memory or mapped
  int64_t candidate_bytes = 0;                   // arena, key-value cache and workspaces
  std::map<std::string, int64_t> samples;        // per benchmark, held-out ones too
  std::map<std::string, int64_t> prompt_tokens;  // per benchmark, one pass over it
  std::string architecture;
  std::map<std::string, int64_t> problems = {};  // prompts of the benchmarks that ask for several completions each (pass@k)
  // Of each model, by name, what its checkpoint was when it was loaded (common/transfer/checkpoint_files.h,
  // CheckpointContent).
  std::map<std::string, std::string> contents = {};
  std::map<std::string, int64_t> new_tokens = {};  // per benchmark, at most, in one pass over it; 0: it generates nothing
  bool operator==(const JobFacts&) const = default;

  // What a metric of the benchmark is a mean over: its problems, else its samples; 0 where it is not known.
  int64_t ItemsOf(const std::string& benchmark) const {
    const auto problem = problems.find(benchmark);
    const auto sample = samples.find(benchmark);
    return problem != problems.end() ? problem->second : sample != samples.end() ? sample->second : 0;
  }
};

}  // namespace merganser

#endif  // MERGANSER_COMMON_DOMAIN_EVALUATION_H_
