#include "worker/evaluate/local_evaluator.h"

#include "common/base/status_macros.h"

namespace merganser {

absl::Status LocalEvaluator::Load(const JobSpec& spec, const PhaseCallback& phase, std::stop_token stop) {
  if (job_ != nullptr && job_->spec() == spec) return absl::OkStatus();
  phase("load");
  job_.reset();  // before the next one is loaded: both may not fit
  MG_ASSIGN_OR_RETURN(job_, LoadedJob::Load(spec, options_, stop));
  return absl::OkStatus();
}

absl::StatusOr<JobFacts> LocalEvaluator::Prepare(const JobSpec& spec, const PhaseCallback& phase, std::stop_token stop) {
  MG_RETURN_IF_ERROR(Load(spec, phase, stop));
  return job_->facts();
}

absl::StatusOr<Evaluation> LocalEvaluator::Evaluate(const JobSpec& spec, const Recipe& recipe,
                                                    const std::vector<std::string>& benchmarks,
                                                    const PhaseCallback& phase, std::stop_token stop) {
  MG_RETURN_IF_ERROR(Load(spec, phase, stop));
  return job_->Evaluate(recipe, benchmarks, phase, stop);
}

}  // namespace merganser
