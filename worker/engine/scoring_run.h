// One call of Decoder::LogLikelihood: contexts once, then their continuations.
#ifndef MERGANSER_WORKER_ENGINE_SCORING_RUN_H_
#define MERGANSER_WORKER_ENGINE_SCORING_RUN_H_

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

// Requests with one prompt form a group with a slot of its own. Its prompt is computed once, and
// its last row gives the first token of every continuation; the rest of each continuation then runs
// behind the prompt in the same slot, one of each group per step, so nothing is ever copied. A
// prefix that all prompts share is computed once for the call. Used once, from one thread. The
// requests are checked already.
class ScoringRun {
 public:
  // `runner` has options.max_sequences slots and one more, for the shared prefix. All arguments
  // outlive the run.
  ScoringRun(ModelRunner& runner, const EngineOptions& options,
             absl::Span<const ScoringRequest> requests, GenerationTimings& timings);

  // Errors of Generator::LogLikelihood.
  absl::StatusOr<std::vector<Score>> Run(std::stop_token stop, const GenerationProgress& progress);

 private:
  struct Group {
    std::vector<int> requests;  // with equal prompts
  };
  // Token `index` of the continuation of `request`.
  struct Wanted {
    int request;
    int index;
  };
  // Tokens to be run in one slot, in pieces if they are many.
  struct Stream {
    int slot;
    int past;
    std::vector<int32_t> tokens;
    int first_output;                         // the results of this token and of those after it...
    std::vector<std::vector<Wanted>> wanted;  // ...are for these
    int done = 0;
  };

  // The prompt of `group`, with the whole continuation if there is only one.
  Stream Context(const Group& group, int slot) const;
  // What follows the first token of the `round`-th continuation.
  Stream Continuation(const Group& group, int slot, size_t round) const;
  absl::Status RunStreams(std::vector<Stream> streams, std::stop_token stop);
  absl::Status RunStep(std::vector<Stream>& streams, size_t first);

  ModelRunner& runner_;
  const EngineOptions& options_;
  const absl::Span<const ScoringRequest> requests_;
  GenerationTimings& timings_;
  std::vector<Group> groups_;  // the longest prompts first
  int shared_prefix_ = 0;
  std::vector<Score> scores_;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_ENGINE_SCORING_RUN_H_
