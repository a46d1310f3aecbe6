// What a job may say of its searches: the part of Validate(JobSpec) that is about stages, spaces, budgets, objectives and
// constraints.
#ifndef MERGANSER_COMMON_DOMAIN_SEARCH_VALIDATION_H_
#define MERGANSER_COMMON_DOMAIN_SEARCH_VALIDATION_H_

#include "absl/status/status.h"
#include "common/domain/job_spec.h"

namespace merganser {

// Spaces and budgets of every stage, and that every model is used by one of them.
absl::Status ValidateStages(const JobSpec& spec);
// Whether the stage's parameter space takes over the winner's path, where the winner is one: `start: winner` after a stage
// that searches paths. A joint stage does not, it searches paths itself.
bool TakesWinnersPath(const JobSpec& spec, int stage);
// Objectives, constraints, samples, finalists. The benchmarks have been validated.
absl::Status ValidateGoals(const JobSpec& spec);

}  // namespace merganser

#endif  // MERGANSER_COMMON_DOMAIN_SEARCH_VALIDATION_H_
