// A benchmark as one tokenizer reads it, ready to be run on any candidate.
#ifndef MERGANSER_WORKER_EVALUATE_BENCHMARK_RUN_H_
#define MERGANSER_WORKER_EVALUATE_BENCHMARK_RUN_H_

#include <cstdint>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/domain/evaluation.h"
#include "worker/benchmark/benchmark_group.h"
#include "worker/engine/generator.h"
#include "worker/evaluate/image_feature_cache.h"
#include "worker/text/tokenizer.h"

namespace merganser {

// Immutable after Create; Run is thread-compatible with its generator.
class BenchmarkRun {
 public:
  // Tokenizes every text; with jp_lmeh without special tokens, contexts and continuations by themselves, and an empty
  // context is the eos token. `max_context`: positions of one sequence; longer texts of loglikelihood_rolling are cut into
  // windows, those of jp_lmeh lose their beginning, anything else that is longer is InvalidArgument naming the sample.
  // `images`: of a model that sees, else null; then prompts with pictures are InvalidArgument. It computes every picture's
  // features here. `tokenizer` and `images` outlive it.
  static absl::StatusOr<std::unique_ptr<BenchmarkRun>> Create(std::unique_ptr<BenchmarkGroup> group,
                                                              const Tokenizer& tokenizer, int64_t max_context,
                                                              ImageFeatureCache* images);

  const BenchmarkGroup& group() const { return *group_; }
  int64_t samples() const { return samples_; }
  int64_t prompt_tokens() const { return prompt_tokens_; }  // of one pass over it
  int64_t new_tokens() const { return new_tokens_; }        // at most, in one pass over it
  int64_t max_length() const { return max_length_; }        // positions that its longest sequence needs

  // On `samples`, numbers below samples() in ascending order: an average's members count on. Adds what it takes to
  // timings->tokenize and timings->score. Errors name the benchmark.
  absl::StatusOr<BenchmarkResult> Run(Generator& generator, const std::vector<int64_t>& samples, PhaseTimings* timings,
                                      std::stop_token stop) const;

  // OK if `other` reads every text as the same tokens; of prompts with pictures the texts between these.
  // InvalidArgument: "sample 3 of benchmark 'b'".
  absl::Status CheckSameTokens(const Tokenizer& other) const;

 private:
  // Where a scoring request belongs.
  struct Owner {
    size_t sample;
    size_t continuation;
  };
  struct Part {
    const Benchmark* benchmark = nullptr;
    std::vector<GenerationRequest> generations;  // one a sample
    std::vector<ScoringRequest> scorings;        // at least one a continuation
    std::vector<Owner> owners;                   // of scorings
    // For each of generations: where its pictures' features begin in the prompt.
    std::vector<std::vector<int>> positions;
  };

  BenchmarkRun(std::unique_ptr<BenchmarkGroup> group, const Tokenizer& tokenizer, ImageFeatureCache* images)
      : group_(std::move(group)), tokenizer_(tokenizer), images_(images) {}
  absl::Status AddGenerations(const Tokenizer& tokenizer, int64_t max_context, Part* part) const;
  // Makes room for the features of each picture.
  absl::Status AddImages(Part* part) const;
  absl::StatusOr<std::vector<Generation>> GenerateSeeing(const Part& part, const std::vector<int64_t>& samples,
                                                         Generator& generator, PhaseTimings* timings,
                                                         std::stop_token stop) const;
  absl::Status AddScorings(const Tokenizer& tokenizer, int64_t max_context, Part* part) const;
  absl::StatusOr<Part> Tokenized(const Benchmark& benchmark, const Tokenizer& tokenizer, int64_t max_context) const;
  absl::StatusOr<BenchmarkResult> RunPart(const Part& part, const std::vector<int64_t>& samples, Generator& generator,
                                          PhaseTimings* timings, std::stop_token stop) const;

  const std::unique_ptr<BenchmarkGroup> group_;
  const Tokenizer& tokenizer_;
  ImageFeatureCache* const images_;
  std::vector<Part> parts_;
  int64_t samples_ = 0;
  int64_t prompt_tokens_ = 0;
  int64_t new_tokens_ = 0;
  int64_t max_length_ = 0;
  int64_t max_context_ = 0;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_EVALUATE_BENCHMARK_RUN_H_
