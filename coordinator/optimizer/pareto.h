// Ranking by several objectives, larger is better.
#ifndef MERGANSER_COORDINATOR_OPTIMIZER_PARETO_H_
#define MERGANSER_COORDINATOR_OPTIMIZER_PARETO_H_

#include <vector>

#include "absl/types/span.h"

namespace merganser {

// The fitness of one candidate; empty if it failed. The others of a set have equal lengths.
using FitnessVector = std::vector<double>;

// `a` is nowhere worse than `b` and somewhere better; what failed is dominated by all else.
bool Dominates(const FitnessVector& a, const FitnessVector& b);

// Front of each: 0 if nothing dominates it, 1 if only front 0 does, ... (K. Deb et al., NSGA-II, IEEE
// TEC 6, 2002, "fast non-dominated sort").
std::vector<int> DominationRanks(const std::vector<FitnessVector>& all);

// Crowding distance of each member of one front (the same paper): the sum over objectives of the gap
// between its neighbours, as a share of the front's range; infinite at either end. Equal fitness
// beyond the first has 0.
std::vector<double> CrowdingDistances(const std::vector<FitnessVector>& all, absl::Span<const int> front);

// The best `count` of `all`, indices in order of selection: by front, the last front that has a
// place by crowding distance (NSGA-II), or, `by_hypervolume` with two objectives, by dropping one
// after the other whoever adds least to the front's hypervolume (C. Igel, N. Hansen, S. Roth,
// Evolutionary Computation 15, 2007). Ties go to the smaller index.
std::vector<int> SelectBest(const std::vector<FitnessVector>& all, int count, bool by_hypervolume);

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_OPTIMIZER_PARETO_H_
