// One call of Decoder::Generate: which sequence does what in which step.
#ifndef MERGANSER_WORKER_ENGINE_GENERATION_RUN_H_
#define MERGANSER_WORKER_ENGINE_GENERATION_RUN_H_

#include <cstdint>
#include <memory>
#include <stop_token>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "worker/engine/beam_search.h"
#include "worker/engine/engine_options.h"
#include "worker/engine/generator.h"
#include "worker/engine/model_runner.h"
#include "worker/engine/sampler.h"

namespace merganser {

// Used once, from one thread. The requests are checked already.
class GenerationRun {
 public:
  // `runner` has options.max_sequences slots and one more, for the shared prefix. All arguments
  // outlive the run.
  GenerationRun(ModelRunner& runner, const EngineOptions& options, int64_t vocab_size, int64_t hidden_size,
                absl::Span<const GenerationRequest> requests, GenerationTimings& timings);

  // Errors of Generator::Generate.
  absl::StatusOr<std::vector<Generation>> Run(std::stop_token stop,
                                              const GenerationProgress& progress);

 private:
  struct Sequence {
    int request;
    int beam;  // of the request; 0 without beams
    int slot;
    int cached;      // positions in the cache
    int wanted = 0;  // results of this step, 0 or 1
  };
  // What a request holds while it runs.
  struct Running {
    std::unique_ptr<BeamSearch> search;  // null without beams
    std::vector<int> spare_slots;        // of beams that are not there yet
  };

  absl::Status ComputeSharedPrefix();
  absl::Status Admit(int budget);
  void BuildBatch();
  // For the last `count` tokens of the batch, which are the prompt's from `begin` on.
  void AddEmbeddings(const GenerationRequest& request, int begin, int count);
  absl::Status RunBatch();
  absl::Status Step();
  // Takes the next token of a sequence; true if that ended it.
  absl::StatusOr<bool> Take(const Sequence& sequence, size_t result);
  absl::StatusOr<int32_t> Choose(const Sequence& sequence, size_t result);
  // Advances the search whose live beams are `beams`, and puts those that go on into next_active_.
  absl::Status AdvanceBeams(absl::Span<const Sequence> beams, size_t result);
  absl::Span<float> LogitsOf(size_t result);
  absl::StatusOr<bool> HasStopString(const GenerationRequest& request,
                                     absl::Span<const int32_t> tokens) const;

  ModelRunner& runner_;
  const EngineOptions& options_;
  const int64_t vocab_size_;
  const int64_t hidden_size_;
  const absl::Span<const GenerationRequest> requests_;
  GenerationTimings& timings_;

  std::vector<int> waiting_;  // requests, next one last
  std::vector<int> free_slots_;
  std::vector<Sequence> active_;  // the beams of one request are neighbours
  std::vector<Sequence> next_active_;
  std::vector<Running> running_;  // by request
  std::vector<Generation> generations_;
  size_t finished_ = 0;
  int shared_prefix_ = 0;  // tokens that are in the extra slot
  StepBatch batch_;
  int prompt_rows_ = 0;  // of batch_
  std::vector<RowResult> results_;
  std::vector<float> logits_;  // [results, vocab] where a request needs them, else empty
  Sampler sampler_;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_ENGINE_GENERATION_RUN_H_
