// How many candidates a generation of a stage has. Decided once, when the stage begins; the log keeps it (StageState), so
// that a search does not change with the workers that come and go later.
#ifndef MERGANSER_COORDINATOR_JOB_STAGE_POPULATION_H_
#define MERGANSER_COORDINATOR_JOB_STAGE_POPULATION_H_

#include <cstdint>
#include <string>

#include "common/domain/candidate.h"
#include "common/domain/job_spec.h"

namespace merganser {

// Slots do not raise the population beyond what leaves so many generations: with fewer the search loses more than the time
// is worth (docs/optimizers.md has the measurement).
inline constexpr int64_t kGenerationsMin = 20;

// The largest population that the budget's candidates and samples allow kGenerationsMin generations of;
// limits::kCandidatesMax where it bounds neither. `samples`: of one candidate.
int64_t PopulationMax(const Budget& budget, int64_t samples);

// A candidate for every slot, so that no worker waits for the next generation, and no more of them in flight than one
// generation has, which a rolling search needs (cma_es.h): `slots`, but at least `own` (the optimizer's) and, above that, at
// most PopulationMax.
int PopulationForSlots(const Budget& budget, int64_t samples, int own, int slots);

// Says in the log what the stage takes, and warns where workers will be idle.
void LogPopulation(const std::string& job, int stage, int population, int slots);

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_JOB_STAGE_POPULATION_H_
