// A benchmark made ready for a job: data read, prompts rendered, scorer loaded.
#ifndef MERGANSER_WORKER_BENCHMARK_BENCHMARK_H_
#define MERGANSER_WORKER_BENCHMARK_BENCHMARK_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/domain/evaluation.h"
#include "worker/benchmark/builtin_benchmarks.h"
#include "worker/benchmark/sample.h"
#include "worker/benchmark/scorer.h"

namespace merganser {

// Owns one benchmark's samples and prompts for as long as a worker serves the job, so that a
// candidate costs only its generation and Score. It knows nothing of tokenizers and models.
// Immutable, thread-safe.
class Benchmark {
 public:
  // Reads definition.data and renders the prompt of each sample. The template sees the sample's
  // fields, and its question as `question` too, whatever its field is called. The language model is
  // also looked for beside the data and one folder up. Errors of LoadDataset and Scorer::Create;
  // InvalidArgument naming the benchmark and the field if data, prompt or max_new_tokens is
  // missing, or the template is broken; naming file, line and variable if a sample lacks what the
  // template asks for.
  static absl::StatusOr<std::unique_ptr<Benchmark>> Load(BenchmarkDefinition definition,
                                                         const ScorerOptions& options = {});

  const BenchmarkDefinition& definition() const { return definition_; }
  const std::vector<Sample>& samples() const { return samples_; }
  // One a sample, in the data's order.
  const std::vector<std::string>& prompts() const { return prompts_; }

  // completions[i] continues prompts()[i]; see Scorer::Score.
  absl::StatusOr<BenchmarkResult> Score(absl::Span<const std::string> completions) const;
  // The same for some of the samples, by their numbers: completions[i] continues prompts()[samples[i]]. OutOfRange: there is no
  // such sample.
  absl::StatusOr<BenchmarkResult> Score(absl::Span<const std::string> completions, absl::Span<const int64_t> samples) const;

 private:
  Benchmark(BenchmarkDefinition definition, std::vector<Sample> samples,
            std::vector<std::string> prompts, std::unique_ptr<const Scorer> scorer);

  const BenchmarkDefinition definition_;
  const std::vector<Sample> samples_;
  const std::vector<std::string> prompts_;
  const std::unique_ptr<const Scorer> scorer_;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_BENCHMARK_BENCHMARK_H_
