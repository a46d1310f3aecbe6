#include "coordinator/job/job_update.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/closest_name.h"
#include "common/base/status_macros.h"

namespace merganser {
namespace {

Budget& BudgetOf(JobSpec* spec, int stage) { return stage == 0 ? spec->budget : spec->then[stage - 1].budget; }

absl::Status SetField(const std::string& field, const JobSpec& values, Budget* budget, JobSpec* spec) {
  const Budget& to = values.budget;
  if (field == "budget") {
    *budget = to;
  } else if (field == "budget.candidates") {
    budget->candidates = to.candidates;
  } else if (field == "budget.generations") {
    budget->generations = to.generations;
  } else if (field == "budget.samples") {
    budget->samples = to.samples;
  } else if (field == "budget.wall_time") {
    budget->wall_time = to.wall_time;
  } else if (field == "budget.gpu_time") {
    budget->gpu_time = to.gpu_time;
  } else if (field == "budget.target") {
    budget->target = to.target;
  } else if (field == "max_attempts") {
    spec->max_attempts = values.max_attempts;
  } else if (field == "attempt_timeout") {
    spec->attempt_timeout = values.attempt_timeout;
  } else if (field == "priority") {
    spec->priority = values.priority;
  } else if (field == "share") {
    spec->share = values.share;
  } else {
    const std::vector<std::string> known = {"budget",
                                            "budget.candidates",
                                            "budget.generations",
                                            "budget.samples",
                                            "budget.wall_time",
                                            "budget.gpu_time",
                                            "budget.target",
                                            "max_attempts",
                                            "attempt_timeout",
                                            "priority",
                                            "share"};
    return absl::InvalidArgumentError(absl::StrCat("update_mask: '", field, "' cannot change", DidYouMean(field, known)));
  }
  return absl::OkStatus();
}

std::string Text(int64_t bound) { return bound == 0 ? "none" : absl::StrCat(bound); }
std::string Text(absl::Duration bound) { return bound == absl::InfiniteDuration() ? "none" : absl::FormatDuration(bound); }
std::string Text(const std::optional<double>& bound) { return bound.has_value() ? absl::StrCat(*bound) : "none"; }

}  // namespace

JobSettings SettingsOf(const JobSpec& spec) {
  JobSettings settings{.max_attempts = spec.max_attempts,
                       .attempt_timeout = spec.attempt_timeout,
                       .priority = spec.priority,
                       .share = spec.share};
  for (int i = 0; i < NumStages(spec); ++i) settings.budgets.push_back(StageOf(spec, i).budget);
  return settings;
}

void ApplySettings(const JobSettings& settings, JobSpec* spec) {
  for (int i = 0; i < NumStages(*spec); ++i) BudgetOf(spec, i) = settings.budgets[i];
  spec->max_attempts = settings.max_attempts;
  spec->attempt_timeout = settings.attempt_timeout;
  spec->priority = settings.priority;
  spec->share = settings.share;
}

absl::StatusOr<JobSpec> UpdatedSpec(const JobSpec& spec, const JobUpdate& update) {
  if (update.fields.empty()) return absl::InvalidArgumentError("update_mask: names no field");
  const int stage = update.stage.value_or(NumStages(spec) - 1);
  if (stage < 0 || stage >= NumStages(spec)) {
    return absl::InvalidArgumentError(absl::StrCat("stage: ", stage, " is not in [0, ", NumStages(spec) - 1, "]"));
  }
  JobSpec updated = spec;
  for (const std::string& field : update.fields) {
    MG_RETURN_IF_ERROR(SetField(field, update.values, &BudgetOf(&updated, stage), &updated));
  }
  MG_RETURN_IF_ERROR(Validate(updated));
  return updated;
}

std::string SettingsChange(const JobSettings& before, const JobSettings& after) {
  std::vector<std::string> changes;
  const auto note = [&](const std::string& field, const std::string& from, const std::string& to) {
    if (from != to) changes.push_back(absl::StrCat(field, " ", from, " -> ", to));
  };
  for (size_t i = 0; i < std::min(before.budgets.size(), after.budgets.size()); ++i) {
    const Budget& a = before.budgets[i];
    const Budget& b = after.budgets[i];
    const std::string at = absl::StrCat(StageField(static_cast<int>(i)), "budget.");
    note(at + "candidates", Text(a.candidates), Text(b.candidates));
    note(at + "generations", Text(a.generations), Text(b.generations));
    note(at + "samples", Text(a.samples), Text(b.samples));
    note(at + "wall_time", Text(a.wall_time), Text(b.wall_time));
    note(at + "gpu_time", Text(a.gpu_time), Text(b.gpu_time));
    note(at + "target", Text(a.target), Text(b.target));
  }
  note("max_attempts", absl::StrCat(before.max_attempts), absl::StrCat(after.max_attempts));
  note("attempt_timeout", Text(before.attempt_timeout), Text(after.attempt_timeout));
  note("priority", absl::StrCat(before.priority), absl::StrCat(after.priority));
  note("share", absl::StrCat(before.share), absl::StrCat(after.share));
  return absl::StrJoin(changes, ", ");
}

}  // namespace merganser
