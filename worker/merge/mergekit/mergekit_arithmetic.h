// Merges as mergekit 0.1.5 computes them, operation by operation: for recipes with Arithmetic::kMergekit. Tensor by tensor
// and not in a hurry; the methods' own kernels (methods/) are the better arithmetic.
#ifndef MERGANSER_WORKER_MERGE_MERGEKIT_MERGEKIT_ARITHMETIC_H_
#define MERGANSER_WORKER_MERGE_MERGEKIT_MERGEKIT_ARITHMETIC_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/merge/merge_method.h"
#include "worker/merge/merge_settings.h"
#include "worker/merge/mergekit/rounded.h"
#include "worker/merge/mergekit/torch_random.h"

namespace merganser {

// One tensor of the models, cast to the type that is computed in.
struct MergekitInput {
  std::vector<int64_t> shape;
  bool has_base = false;
  RoundedValues base;
  std::vector<RoundedValues> sources;

  int64_t count() const { return static_cast<int64_t>(sources[0].size()); }
};

// Random numbers that the merge of a tensor of `count` elements draws.
int64_t DrawsOf(const MergeMethod& method, const MergeSettings& settings, int64_t count);

// The merged values, of the type of `in`. Where mergekit leaves the order of equal magnitudes open (ties, breadcrumbs, sce,
// della), ours is taken: of equal ones the lowest index is the larger. DELLA in bf16 ranks them by index, as torch does in
// short rows, and some versions of it in all. arcee_fusion takes its quartiles from all scores. InvalidArgument: mergekit
// refuses this too.
absl::StatusOr<RoundedValues> MergeLikeMergekit(const MergeMethod& method, const MergeSettings& settings, MergekitInput in,
                                                const Rounded& in_type, TorchRandom random);

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_MERGEKIT_MERGEKIT_ARITHMETIC_H_
