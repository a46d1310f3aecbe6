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
#include "worker/engine/scoring_tree.h"

namespace merganser {

// Requests with one prompt form a group with a slot of its own. Its prompt is computed once, and its last row gives the
// first token of every continuation. The rest of the continuations runs behind it in the same slot, so nothing is ever
// copied: as a tree in the same pass (scoring_tree.h) where the runner takes branches, else one of each group per step. A
// prefix that all prompts share is computed once for the call. Used once, from one thread. The requests are checked already.
class ScoringRun {
 public:
  // `runner` has options.max_sequences slots and one more, for the shared prefix. `branches` false: continuations of one
  // prompt have no tree, since what they have in common depends on their lengths. All arguments outlive the run.
  ScoringRun(ModelRunner& runner, const EngineOptions& options, absl::Span<const ScoringRequest> requests, bool branches,
             GenerationTimings& timings);

  // Errors of Generator::LogLikelihood.
  absl::StatusOr<std::vector<Score>> Run(std::stop_token stop, const GenerationProgress& progress);

 private:
  using Wanted = ScoringTree::Wanted;
  struct Group {
    std::vector<int> requests;  // with equal prompts
    std::vector<ScoringTree> trees;
  };
  // Tokens to be run in one slot, in pieces if they are many.
  struct Stream {
    int slot;
    int past;
    std::vector<int32_t> tokens;
    int first_output;                         // the results of this token and of those after it...
    std::vector<std::vector<Wanted>> wanted;  // ...are for these
    std::vector<PositionSpan> spans = {};     // StepBatch::branches; one or none: the tokens are on no branch
    int done = 0;
  };

  // The prompt of `group`, with the whole continuation if there is only one.
  Stream Context(const Group& group, int slot) const;
  // Adds the nodes of `tree`, whose context is in `slot`.
  static void AddTree(const ScoringTree& tree, int slot, std::vector<Stream>* streams);
  absl::Status RunStreams(std::vector<Stream> streams, std::stop_token stop);
  absl::Status RunStep(std::vector<Stream>& streams, size_t first);

  ModelRunner& runner_;
  const EngineOptions& options_;
  const absl::Span<const ScoringRequest> requests_;
  const int64_t branch_rows_;  // 0: no branches
  GenerationTimings& timings_;
  std::vector<Group> groups_;  // the longest prompts first
  int shared_prefix_ = 0;
  std::vector<Score> scores_;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_ENGINE_SCORING_RUN_H_
