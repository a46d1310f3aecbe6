#include "worker/evaluate/local_evaluator.h"

#include <utility>

#include "common/base/status_macros.h"

namespace merganser {

absl::Status LocalEvaluator::Load(const JobSpec& spec, const PhaseCallback& phase, std::stop_token stop) {
  {
    absl::MutexLock lock(&mu_);
    if (job_ != nullptr && job_->Take(spec)) return absl::OkStatus();
  }
  phase("load");
  const auto exchange = [this](std::unique_ptr<LoadedJob> job) {
    absl::MutexLock lock(&mu_);
    job_.swap(job);
    return job;
  };
  exchange(nullptr).reset();  // before the next one is loaded: both may not fit
  MG_ASSIGN_OR_RETURN(std::unique_ptr<LoadedJob> job, LoadedJob::Load(spec, options_, stop));
  exchange(std::move(job));
  return absl::OkStatus();
}

void LocalEvaluator::Expect(const Recipe& next) {
  absl::MutexLock lock(&mu_);
  if (job_ != nullptr) job_->Expect(next);
}

absl::StatusOr<JobFacts> LocalEvaluator::Prepare(const JobSpec& spec, const PhaseCallback& phase, std::stop_token stop) {
  MG_RETURN_IF_ERROR(Load(spec, phase, stop));
  return job_->facts();
}

absl::StatusOr<Evaluation> LocalEvaluator::Evaluate(const JobSpec& spec, const Recipe& recipe,
                                                    const std::vector<std::string>& benchmarks, const PhaseCallback& phase,
                                                    std::stop_token stop) {
  MG_RETURN_IF_ERROR(Load(spec, phase, stop));
  return job_->Evaluate(recipe, benchmarks, phase, stop);
}

}  // namespace merganser
