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
#include "worker/benchmark/definition.h"
#include "worker/benchmark/sample.h"
#include "worker/benchmark/sample_builder.h"
#include "worker/benchmark/scorer.h"

namespace merganser {

// Owns one benchmark's samples and prompts for as long as a worker serves the job, so that a
// candidate costs only its generation and its scores. Of tokenizers and models it knows what ScorerOptions::model tells.
// Immutable, thread-safe.
class Benchmark {
 public:
  // Reads definition.data and the few-shots and renders every text. Templates see the sample's
  // fields, and its question as `question` too, whatever its field is called. The language model is
  // also looked for beside the data and one folder up. Errors of LoadRows, LoadDataset,
  // SampleBuilder and Scorer::Create; InvalidArgument naming the benchmark and the field if data
  // (with where it is to be had), prompt or max_new_tokens is missing, or a template is broken;
  // naming file, line and variable if a sample lacks what a template asks for.
  static absl::StatusOr<std::unique_ptr<Benchmark>> Load(BenchmarkDefinition definition, const ScorerOptions& options = {});

  const BenchmarkDefinition& definition() const { return definition_; }
  const std::vector<Sample>& samples() const { return samples_; }
  // generate_until: one a sample, in the data's order (jp_lmeh: shuffled); else none. With `completions` above 1 a row's
  // sample and prompt are there so many times, one after another.
  const std::vector<std::string>& prompts() const { return prompts_; }
  // The files of the pictures in each prompt, for its "<image>"s in order (sample_builder.h); as many entries as prompts().
  const std::vector<std::vector<std::string>>& images() const { return images_; }
  // The other outputs: a sample's texts to be scored, see BuiltSample. generate_until: none.
  const std::vector<std::vector<ScoringText>>& continuations() const { return continuations_; }

  // completions[i] continues prompts()[i]; see Scorer::Score.
  absl::StatusOr<BenchmarkResult> Score(absl::Span<const std::string> completions) const;
  // scores[i][j] is of continuations()[i][j]. InvalidArgument: another number of scores.
  absl::StatusOr<BenchmarkResult> Score(absl::Span<const std::vector<ContinuationScore>> scores) const;
  // The same for some of the samples, by their numbers: completions[i] continues prompts()[samples[i]], scores[i] are of
  // continuations()[samples[i]]. OutOfRange: there is no such sample.
  absl::StatusOr<BenchmarkResult> Score(absl::Span<const std::string> completions, absl::Span<const int64_t> samples) const;
  absl::StatusOr<BenchmarkResult> Score(absl::Span<const std::vector<ContinuationScore>> scores,
                                        absl::Span<const int64_t> samples) const;

  // One sample, and the metrics of any of them.
  const Scorer& scorer() const { return *scorer_; }

 private:
  absl::Status CheckSamples(absl::Span<const int64_t> samples) const;

  Benchmark(BenchmarkDefinition definition, std::unique_ptr<const Scorer> scorer);

  const BenchmarkDefinition definition_;
  const std::unique_ptr<const Scorer> scorer_;
  // Constant after Load.
  std::vector<Sample> samples_;
  std::vector<std::string> prompts_;
  std::vector<std::vector<std::string>> images_;
  std::vector<std::vector<ScoringText>> continuations_;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_BENCHMARK_BENCHMARK_H_
