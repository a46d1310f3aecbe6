#include "client/prepared_job.h"

#include <utility>

#include "common/base/clock.h"
#include "common/base/status_macros.h"

namespace merganser {

absl::StatusOr<PreparedJob> PrepareJob(const JobFile& file, const LocalOptions& options,
                                       std::optional<absl::Duration> calibration_limit, std::stop_token stop) {
  PreparedJob prepared;
  MG_ASSIGN_OR_RETURN(prepared.library, LoadLocalLibrary());
  MG_ASSIGN_OR_RETURN(prepared.evaluator, prepared.library->CreateEvaluator(options));
  const absl::Duration start = Clock::Real().Monotonic();
  const absl::StatusOr<JobFacts> facts = prepared.evaluator->Prepare(
      file.spec, [](absl::string_view) {}, stop);
  if (!facts.ok()) return file.source.Locate(facts.status());
  prepared.load_time = Clock::Real().Monotonic() - start;
  absl::StatusOr<JobPlan> plan = MakeJobPlan(file.spec, *facts);
  if (!plan.ok()) return file.source.Locate(plan.status());
  prepared.plan = *std::move(plan);
  if (calibration_limit) {
    MG_ASSIGN_OR_RETURN(prepared.plan.calibration, Calibrate(file.spec, *prepared.evaluator, *calibration_limit, stop));
  }
  return prepared;
}

}  // namespace merganser
