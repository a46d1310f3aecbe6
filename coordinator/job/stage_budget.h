// What a stage of a search has spent of its budget, and what of the budget ends it. Pure.
#ifndef MERGANSER_COORDINATOR_JOB_STAGE_BUDGET_H_
#define MERGANSER_COORDINATOR_JOB_STAGE_BUDGET_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/domain/job_spec.h"
#include "coordinator/job/job_state.h"

namespace merganser {

// nullptr: it has not begun.
const StageState* FindStage(const JobState& state, int stage);

// Candidates that the stage may still propose by the budget's bounds on numbers; not below 0 only if it proposed no more.
// `population`: of a generation.
int64_t CandidatesLeft(const JobState& state, int stage, const Budget& budget, int64_t population);

// Whether the stage is to propose nothing more.
bool BudgetReached(const JobState& state, int stage, const Budget& budget, int64_t population, absl::Time now);

// For people, after the fields `changed` ("budget.candidates", or "budget" for all) of the stage's budget became what
// `budget` says: which other bound ends the stage before those do, such as "budget.samples of 2000 ends the search after
// about 500 candidates"; "" if none does, no field of the budget was changed, or nothing is known yet of what a candidate
// takes.
std::string BindingBudget(const JobState& state, int stage, const Budget& budget, const std::vector<std::string>& changed,
                          absl::Time now);

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_JOB_STAGE_BUDGET_H_
