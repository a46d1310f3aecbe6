// One call of Decoder::Generate: which sequence does what in which step.
#ifndef MERGANSER_WORKER_ENGINE_GENERATION_RUN_H_
#define MERGANSER_WORKER_ENGINE_GENERATION_RUN_H_

#include <cstdint>
#include <stop_token>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "worker/engine/engine_options.h"
#include "worker/engine/generator.h"
#include "worker/engine/model_runner.h"

namespace merganser {

// Used once, from one thread. The requests are checked already.
class GenerationRun {
 public:
  // `runner` has options.max_sequences slots and one more, for the shared prefix. All arguments
  // outlive the run.
  GenerationRun(ModelRunner& runner, const EngineOptions& options,
                absl::Span<const GenerationRequest> requests, GenerationTimings& timings);

  // Errors of Generator::Generate.
  absl::StatusOr<std::vector<Generation>> Run(std::stop_token stop,
                                              const GenerationProgress& progress);

 private:
  struct Sequence {
    int request;
    int slot;
    int cached;      // positions in the cache
    int wanted = 0;  // results of this step, 0 or 1
  };

  absl::Status ComputeSharedPrefix();
  absl::Status Admit(int budget);
  void BuildBatch();
  absl::Status Step();
  // Takes the next token of a sequence; true if that ended it.
  absl::StatusOr<bool> Take(const Sequence& sequence, int32_t token);
  absl::StatusOr<bool> HasStopString(const GenerationRequest& request,
                                     absl::Span<const int32_t> tokens) const;

  ModelRunner& runner_;
  const EngineOptions& options_;
  const absl::Span<const GenerationRequest> requests_;
  GenerationTimings& timings_;

  std::vector<int> waiting_;  // requests, next one last
  std::vector<int> free_slots_;
  std::vector<Sequence> active_;
  std::vector<Generation> generations_;
  size_t finished_ = 0;
  int shared_prefix_ = 0;  // tokens that are in the extra slot
  StepBatch batch_;
  int prompt_rows_ = 0;  // of batch_
  std::vector<RowResult> results_;
};

// Adds the time of one step to `timings`, divided by kind of token.
void AddStepTime(double seconds, int64_t prompt_tokens, int64_t generated_tokens,
                 GenerationTimings& timings);

}  // namespace merganser

#endif  // MERGANSER_WORKER_ENGINE_GENERATION_RUN_H_
