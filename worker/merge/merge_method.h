// What a merge method is: a kernel over blocks of fp32 values, and the statistic of task vectors
// that it needs beforehand.
#ifndef MERGANSER_WORKER_MERGE_MERGE_METHOD_H_
#define MERGANSER_WORKER_MERGE_MERGE_METHOD_H_

#include <cstdint>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "worker/merge/block_math.h"
#include "worker/merge/masks.h"

namespace merganser {

// Parameters of one source for one tensor of one candidate.
struct SourceTerm {
  float weight = 1;
  MagnitudeCut cut;      // Statistic::kMagnitudeCut: which elements of the task vector stay
  MaskRule mask_rule;    // Statistic::kRandomMask: which elements stay ...
  MaskStream mask;       // ... by which random words
  float kept_scale = 1;  // what multiplies the elements that stay (parameter `rescale`)
};

// Parameters of the method for one tensor of one candidate.
struct TensorTerms {
  absl::Span<const SourceTerm> sources;
  float lambda = 1;
  bool normalize = false;
};

// A run of elements of one tensor, converted to fp32. `sources` and `scratch` may be overwritten.
struct MergeBlock {
  int64_t first = 0;                // row-major index of the first element; a multiple of 64
  int64_t count = 0;                // elements
  const float* base = nullptr;      // null for methods without a base
  float* const* sources = nullptr;  // one block per source
  float* scratch = nullptr;         // `count` values
  uint32_t* words =
      nullptr;  // `count` rounded up to a multiple of MaskStream::kFillWords; for random masks
};

// Stateless; any thread.
class MergeMethod {
 public:
  enum class Statistic { kNone, kMagnitudeCut, kRandomMask };

  virtual ~MergeMethod() = default;

  virtual absl::string_view name() const = 0;
  virtual Statistic statistic() const { return Statistic::kNone; }
  // Defaults of the parameters `normalize` and `rescale` (mergekit's).
  virtual bool default_normalize() const { return false; }
  virtual bool default_rescale() const { return false; }
  // True if `normalize` divides by the plain sum of the weights, which therefore must not be 0.
  virtual bool divides_by_weight_sum() const { return false; }

  // Writes the `block.count` merged values to `out`, which overlaps nothing. Each value depends
  // only on the same position of base and sources, and on the terms.
  virtual void Merge(const TensorTerms& terms, const MergeBlock& block, float* out) const = 0;
};

// All methods, one per entry of KnownMethods() (common/domain/job_spec.h). A new method is added
// here.
const std::vector<const MergeMethod*>& AllMergeMethods();

// The method of that name, or nullptr.
const MergeMethod* FindMergeMethod(absl::string_view name);

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_MERGE_METHOD_H_
