// CandidateEvaluator over the engine of this machine.
#ifndef MERGANSER_WORKER_EVALUATE_LOCAL_EVALUATOR_H_
#define MERGANSER_WORKER_EVALUATE_LOCAL_EVALUATOR_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "worker/evaluate/candidate_evaluator.h"
#include "worker/evaluate/loaded_job.h"
#include "worker/evaluate/local_library.h"

namespace merganser {

// Keeps the job of the last call loaded: candidates of one job come in runs, and two jobs may not fit a device's memory.
// Evaluate takes a job without a dtype too, which `merganser evaluate` has: the weights are then of the type that most
// elements of its first model are stored in.
class LocalEvaluator : public CandidateEvaluator {
 public:
  explicit LocalEvaluator(const LocalOptions& options) : options_(options) {}

  absl::StatusOr<JobFacts> Prepare(const JobSpec& spec, const PhaseCallback& phase, std::stop_token stop) override;
  absl::StatusOr<Evaluation> Evaluate(const JobSpec& spec, const Recipe& recipe, const std::vector<std::string>& benchmarks,
                                      const PhaseCallback& phase, std::stop_token stop) override;
  void Expect(const Recipe& next) override;

 private:
  absl::Status Load(const JobSpec& spec, const PhaseCallback& phase, std::stop_token stop);

  const LocalOptions options_;
  absl::Mutex mu_;  // held to change job_, and by Expect
  std::unique_ptr<LoadedJob> job_;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_EVALUATE_LOCAL_EVALUATOR_H_
