// What may change of a job while it runs, or to make it go on. Pure.
#ifndef MERGANSER_COORDINATOR_JOB_JOB_UPDATE_H_
#define MERGANSER_COORDINATOR_JOB_JOB_UPDATE_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/domain/events.h"
#include "common/domain/job_spec.h"

namespace merganser {

struct JobUpdate {
  // Of JobSpec: "budget", "budget.candidates", "budget.generations", "budget.samples", "budget.wall_time",
  // "budget.gpu_time", "budget.target", "max_attempts", "attempt_timeout", "priority", "share".
  std::vector<std::string> fields;
  JobSpec values;            // of those fields; the rest is not looked at
  std::optional<int> stage;  // whose budget; unset: the last stage's
};

JobSettings SettingsOf(const JobSpec& spec);
// REQUIRES: as many budgets as the spec has stages.
void ApplySettings(const JobSettings& settings, JobSpec* spec);

// The spec as it will be. InvalidArgument naming the field: one that cannot change, no field at all, a stage that the job
// does not have, or a value that Validate refuses.
absl::StatusOr<JobSpec> UpdatedSpec(const JobSpec& spec, const JobUpdate& update);

// "budget.candidates 400 -> 800, priority 0 -> 5"; "" if nothing differs.
std::string SettingsChange(const JobSettings& before, const JobSettings& after);

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_JOB_JOB_UPDATE_H_
