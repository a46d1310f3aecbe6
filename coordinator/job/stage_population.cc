#include "coordinator/job/stage_population.h"

#include <algorithm>

#include "common/base/log.h"
#include "common/domain/limits.h"
#include "coordinator/optimizer/cma_es.h"

namespace merganser {

int64_t PopulationMax(const Budget& budget, int64_t samples) {
  int64_t most = limits::kCandidatesMax;
  if (budget.candidates > 0) most = std::min(most, budget.candidates / kGenerationsMin);
  if (budget.samples > 0 && samples > 0) most = std::min(most, budget.samples / samples / kGenerationsMin);
  return std::min<int64_t>(most, CmaEsOptions::kPopulationMax);
}

int PopulationForSlots(const Budget& budget, int64_t samples, int own, int slots) {
  return static_cast<int>(std::max<int64_t>(own, std::min<int64_t>(slots, PopulationMax(budget, samples))));
}

void LogPopulation(const std::string& job, int stage, int population, int slots) {
  MG_LOG(INFO) << "stage begins job=" << job << " stage=" << stage << " population=" << population << " slots=" << slots;
  if (population >= slots) return;
  MG_LOG(WARNING) << "a generation has fewer candidates than there are evaluation slots, some stay idle job=" << job
                  << " stage=" << stage << " population=" << population << " slots=" << slots;
}

}  // namespace merganser
