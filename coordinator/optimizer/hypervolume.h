// How much a set of trade-offs dominates, larger is better.
#ifndef MERGANSER_COORDINATOR_OPTIMIZER_HYPERVOLUME_H_
#define MERGANSER_COORDINATOR_OPTIMIZER_HYPERVOLUME_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "coordinator/optimizer/pareto.h"

namespace merganser {

// The volume that `points` dominate above `reference`; what is not above it in every objective adds nothing. Exact for any
// number of objectives >= 1: a staircase for two, a sweep for three, beyond them the algorithm of the Walking Fish Group (L.
// While, L. Bradstreet, L. Barone, "A fast way of calculating exact hypervolumes", IEEE TEC 16, 2012).
double Hypervolume(const std::vector<FitnessVector>& points, const FitnessVector& reference);

// The same; nullopt once it has taken more than `*steps`, which it counts down (a step is some nanoseconds): with many
// objectives the time grows exponentially in the number of points.
std::optional<double> HypervolumeWithin(const std::vector<FitnessVector>& points, const FitnessVector& reference,
                                        int64_t* steps);

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_OPTIMIZER_HYPERVOLUME_H_
