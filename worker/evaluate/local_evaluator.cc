#include "worker/evaluate/local_evaluator.h"

#include <map>
#include <utility>

#include "common/base/status_macros.h"
#include "worker/checkpoint/dtype.h"
#include "worker/evaluate/source_models.h"

namespace merganser {
namespace {

absl::StatusOr<std::string> StoredType(const JobSpec& spec, const LocalOptions& options) {
  MG_ASSIGN_OR_RETURN(const CheckpointMap models, OpenModels({spec.models.front()}, options.model_roots));
  // What weights may be held in.
  std::map<DType, int64_t> elements = {{DType::kBF16, 0}, {DType::kF16, 0}, {DType::kF32, 0}};
  for (const TensorView& tensor : models.begin()->second->tensors()) {
    if (const auto known = elements.find(tensor.dtype); known != elements.end()) known->second += tensor.NumElements();
  }
  DType most = DType::kBF16;
  for (const auto& [dtype, count] : elements) {
    if (count > elements.at(most)) most = dtype;
  }
  return std::string(ConfigName(most));
}

}  // namespace

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
  if (spec.dtype.empty()) {
    JobSpec typed = spec;
    Recipe typed_recipe = recipe;
    MG_ASSIGN_OR_RETURN(typed.dtype, StoredType(spec, options_));
    typed_recipe.dtype = typed.dtype;
    return Evaluate(typed, typed_recipe, benchmarks, phase, stop);
  }
  MG_RETURN_IF_ERROR(Load(spec, phase, stop));
  return job_->Evaluate(recipe, benchmarks, phase, stop);
}

}  // namespace merganser
