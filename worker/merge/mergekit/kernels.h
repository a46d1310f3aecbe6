// mergekit's kernels, one per method or family; mergekit_arithmetic.cc chooses.
#ifndef MERGANSER_WORKER_MERGE_MERGEKIT_KERNELS_H_
#define MERGANSER_WORKER_MERGE_MERGEKIT_KERNELS_H_

#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/merge/mergekit/mergekit_arithmetic.h"

namespace merganser::mergekit {

using Result = absl::StatusOr<RoundedValues>;

// "Generalized task arithmetic": task_arithmetic, ties, dare_*, della*, breadcrumbs*.
Result TaskVectors(const MergeMethod& method, const MergeSettings& settings, MergekitInput& in, const Rounded& round,
                   TorchRandom& random);

Result Linear(const MergeSettings& settings, MergekitInput& in, const Rounded& round);
Result Sce(const MergeSettings& settings, MergekitInput& in, const Rounded& round);
Result Ram(const MergeSettings& settings, MergekitInput& in, const Rounded& round);
Result RamplusTl(const MergeSettings& settings, MergekitInput& in, const Rounded& round);
Result Nearswap(const MergeSettings& settings, MergekitInput& in, const Rounded& round);
Result ArceeFusion(const MergeSettings& settings, MergekitInput& in, const Rounded& round);
Result Passthrough(const MergeSettings& settings, MergekitInput& in, const Rounded& round);

Result Slerp(const MergeSettings& settings, MergekitInput& in, const Rounded& round);
Result Nuslerp(const MergeSettings& settings, MergekitInput& in, const Rounded& round);
Result Multislerp(const MergeSettings& settings, MergekitInput& in, const Rounded& round);
Result Karcher(const MergeSettings& settings, MergekitInput& in, const Rounded& round);
Result ModelStock(const MergeSettings& settings, MergekitInput& in, const Rounded& round);

// Steps that several share.

// x -= base, rounded.
void SubtractBase(const RoundedValues& base, const Rounded& round, RoundedValues& x);
// For each element whether its value has the sign of the sum over all x: + where that is not negative; zeros have none.
std::vector<std::vector<bool>> AgreeingWithMajority(const std::vector<RoundedValues>& x, const Rounded& round);
// The sum over all x, accumulated in fp32 in their order and rounded once.
RoundedValues SumOver(const std::vector<RoundedValues>& x, const Rounded& round);
// Indices in descending order of magnitude, equal ones by index.
std::vector<int64_t> ByMagnitude(const RoundedValues& x);

}  // namespace merganser::mergekit

#endif  // MERGANSER_WORKER_MERGE_MERGEKIT_KERNELS_H_
