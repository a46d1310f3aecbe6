// What population-based optimizers keep of a candidate, and how a generation of outcomes is gathered.
#ifndef MERGANSER_COORDINATOR_OPTIMIZER_POPULATION_H_
#define MERGANSER_COORDINATOR_OPTIMIZER_POPULATION_H_

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "coordinator/optimizer/optimizer.h"
#include "coordinator/optimizer/pareto.h"
#include "coordinator/optimizer/proposal_ledger.h"
#include "coordinator/optimizer/state_text.h"

namespace merganser {

struct Individual {
  ProposalId id = 0;
  std::vector<double> genome;  // [dimension]
  FitnessVector fitness;       // [objectives]; empty if failed
};

inline Individual ToIndividual(const Told& told) { return {told.id, told.genome, told.fitness}; }

inline void SavePopulation(const std::vector<Individual>& population, StateWriter& writer) {
  writer.Int("individuals", static_cast<int64_t>(population.size()));
  for (const Individual& one : population) {
    writer.Int("id", one.id);
    writer.Doubles("genome", one.genome);
    writer.Int("objectives", static_cast<int64_t>(one.fitness.size()));
    writer.Doubles("fitness", one.fitness);
  }
}

// At most `count_max` individuals, younger than `next_id`. Check reader.ok() afterwards.
inline std::vector<Individual> LoadPopulation(StateReader& reader, int dimension, int64_t count_max, ProposalId next_id) {
  constexpr double kDoubleMax = std::numeric_limits<double>::max();
  std::vector<Individual> population;
  int64_t objectives = 0;
  const int64_t count = reader.Int("individuals", 0, count_max);
  for (int64_t i = 0; i < count && reader.ok(); ++i) {
    Individual one;
    one.id = reader.Int("id", 0, std::max<int64_t>(0, next_id - 1));
    one.genome = reader.Doubles("genome", dimension, 0, 1);
    const int64_t own = reader.Int("objectives", 0, 1000);
    one.fitness = reader.Doubles("fitness", own, -kDoubleMax, kDoubleMax);
    if (own > 0 && objectives > 0 && own != objectives) reader.Fail("numbers of objectives differ");
    if (own > 0) objectives = own;
    population.push_back(std::move(one));
  }
  return reader.ok() ? population : std::vector<Individual>();
}

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_OPTIMIZER_POPULATION_H_
