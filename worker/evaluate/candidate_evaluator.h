// The interface that turns a recipe into scores. The agent knows only this; LocalEvaluator implements it with the engine,
// tests use fakes.
#ifndef MERGANSER_WORKER_EVALUATE_CANDIDATE_EVALUATOR_H_
#define MERGANSER_WORKER_EVALUATE_CANDIDATE_EVALUATOR_H_

#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/domain/evaluation.h"
#include "common/domain/job_spec.h"
#include "common/domain/recipe.h"

namespace merganser {

// Threading: one caller at a time. Status codes decide what follows: InvalidArgument, OutOfRange, Unimplemented and DataLoss
// are the same on any worker (infeasible); NotFound, PermissionDenied, FailedPrecondition (a device, say),
// ResourceExhausted, Unavailable and Internal may go better elsewhere; Cancelled after a stop request.
class CandidateEvaluator {
 public:
  virtual ~CandidateEvaluator() = default;

  // "load", "materialize", "evaluate": what it does now. Called on the caller's thread.
  using PhaseCallback = std::function<void(absl::string_view phase)>;

  // Loads everything that the job's candidates share: checkpoints, tokenizer, benchmarks, prompts as tokens, arena, engine.
  // The last job or two stay loaded; a second call for the same spec is cheap.
  virtual absl::StatusOr<JobFacts> Prepare(const JobSpec& spec, const PhaseCallback& phase, std::stop_token stop) = 0;

  // Merges `recipe` and runs `benchmarks` (names of the spec's benchmarks or held_out). Prepares the job if need be.
  virtual absl::StatusOr<Evaluation> Evaluate(const JobSpec& spec, const Recipe& recipe,
                                              const std::vector<std::string>& benchmarks, const PhaseCallback& phase,
                                              std::stop_token stop) = 0;

  // What will probably be evaluated next, for the same job: its merge may begin beside the call of Evaluate that runs, once
  // that is in its phase "evaluate". A guess: if it is wrong, only time is lost. Any thread, at any time; never waits for
  // a call.
  virtual void Expect(const Recipe& next) { (void)next; }
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_EVALUATE_CANDIDATE_EVALUATOR_H_
