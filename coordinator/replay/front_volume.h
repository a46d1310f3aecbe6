// How sure the hypervolume of a measured front is: its candidates were scored on a sample of what they are for.
#ifndef MERGANSER_COORDINATOR_REPLAY_FRONT_VOLUME_H_
#define MERGANSER_COORDINATOR_REPLAY_FRONT_VOLUME_H_

#include <optional>
#include <string>
#include <vector>

#include "coordinator/optimizer/pareto.h"

namespace merganser {

inline constexpr int kFrontResamplings = 1000;

// One objective of one candidate of the front.
struct FrontValue {
  double value = 0;
  std::string samples_of;       // which samples: equal names are the same samples in the same order
  std::vector<double> samples;  // whose mean `value` is; empty: not measured on samples, so it is certain
};

struct VolumeInterval {
  double low = 0, high = 0;
};

// Where a volume begins, of each objective: 0 if no point is below it, else the worst of them and a tenth more, so that who
// is worst in one objective still counts by the others. Points of other lengths and values that are not finite do not count.
FitnessVector VolumeReference(size_t objectives, const std::vector<FitnessVector>& points);

// The front's exact hypervolume above `reference`; nullopt if that takes too long (thousands of points, or hundreds with
// many objectives).
std::optional<double> FrontVolume(const std::vector<std::vector<FrontValue>>& front, const FitnessVector& reference);

// 95 % percentile interval of that volume for these same candidates, over kFrontResamplings resamplings of the samples.
// Values with the same samples_of are resampled together, so what is hard for one candidate stays hard for all. Draw i of
// resampling r depends on (samples_of, r, i) alone. nullopt if it takes too long.
std::optional<VolumeInterval> FrontVolumeInterval(const std::vector<std::vector<FrontValue>>& front,
                                                  const FitnessVector& reference);

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_REPLAY_FRONT_VOLUME_H_
