// What a merge method is: a kernel over blocks of fp32 values, and the statistic of the sources that it needs beforehand.
// Parameters with their defaults and bounds: common/domain/merge_method_spec.h.
#ifndef MERGANSER_WORKER_MERGE_MERGE_METHOD_H_
#define MERGANSER_WORKER_MERGE_MERGE_METHOD_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/domain/merge_method_spec.h"
#include "worker/merge/block_math.h"
#include "worker/merge/masks.h"
#include "worker/merge/merge_settings.h"
#include "worker/merge/products.h"

namespace merganser {

// What the kernel needs of one source for one tensor of one candidate.
struct SourceTerm {
  float weight = 1;                     // the parameter; Statistic::kProducts: the coefficient
  MagnitudeCut cut;                     // kMagnitudeCut, kMagnitudeBand: which elements of the task vector stay ...
  MagnitudeCut outliers = kNoOutliers;  // ... kMagnitudeBand: but for these, the largest
  MaskRule mask_rule;                   // kRandomMask: which elements stay ...
  MaskStream mask;                      // ... by which random words
  RankedMask ranked;                    // kRankedMask: with which probability; `mask` as above
  const uint8_t* mask_bits =
      nullptr;           // kRandomMask, kRankedMask: of the whole tensor (block_math.h), where a pass left them
  float kept_scale = 1;  // what multiplies the elements that stay
  const float* vector_coefficients = nullptr;  // kProducts, several vectors: coefficient of each
  const float* row_factors = nullptr;          // kFusion: the divergence of each row
};

// What the kernel needs of one tensor of one candidate.
struct TensorTerms {
  absl::Span<const SourceTerm> sources;
  const MergeSettings* settings = nullptr;
  float lambda = 1;
  bool normalize = false;
  float base_weight = 0;  // kProducts over models: the base's coefficient
  VectorShape vectors;    // kProducts: what vector_coefficients belong to; kFusion: the rows
  MagnitudeCut cut;       // kVarianceCut: which elements stay
  float threshold = 0;    // kFusion: which scores are taken
};

// A run of elements of one tensor, converted to fp32. `sources` and `scratch` may be overwritten.
struct MergeBlock {
  int64_t first = 0;                       // row-major index of the first element; a multiple of 64
  int64_t count = 0;                       // elements
  const float* base = nullptr;             // null for merges without a base
  float* const* sources = nullptr;         // one block per source
  float* scratch = nullptr;                // `count` values
  uint32_t* words = nullptr;               // `count` rounded up to a multiple of MaskStream::kFillWords; for random masks
  const uint8_t* const* kept = nullptr;    // kRankedMask: the bits of what stays, per source (block_math.h)
  const uint32_t* const* ranks = nullptr;  // kRankedMask: ranks, per source; only where its mask rescales
};

// A run of elements that are bf16 in the base, in every source and in the result, as they are stored.
struct BF16Block {
  int64_t first = 0;                // row-major index of the first element
  int64_t count = 0;                // elements
  const std::byte* base = nullptr;  // null for merges without a base
  const std::byte* const* sources = nullptr;
  std::byte* out = nullptr;
};

// Stateless; any thread.
class MergeMethod {
 public:
  // What has to be known of the sources before a tensor's values are merged. All but the random words can be computed once
  // per job (source_facts.h).
  enum class Statistic {
    kNone,
    kMagnitudeCut,   // the largest task-vector elements stay (parameter density)
    kMagnitudeBand,  // the same, without the very largest (gamma)
    kRandomMask,     // elements stay at random (density)
    kRankedMask,     // ... the likelier, the higher their magnitude ranks in their row (density, epsilon)
    kProducts,       // dot products of the sources: the result is a linear combination of them
    kVarianceCut,    // elements stay where the task vectors differ most (select_topk), weighted by their energy
    kOverlapCounts,  // how many elements a task vector has for itself, and shares (epsilon)
    kFusion,         // scores by change and divergence, and their outliers
  };

  virtual ~MergeMethod() = default;

  const MethodSpec& spec() const { return spec_; }
  absl::string_view name() const { return spec_.name; }
  virtual Statistic statistic() const { return Statistic::kNone; }
  // True if the result depends on the recipe's mask_seed.
  bool random() const { return statistic() == Statistic::kRandomMask || statistic() == Statistic::kRankedMask; }
  // True if `normalize` divides by the plain sum of the weights, which therefore must not be 0.
  virtual bool divides_by_weight_sum() const { return false; }

  // kProducts: whose products, and what one vector is.
  virtual ProductsOf products_of() const { return ProductsOf::kTaskVectors; }
  virtual VectorScope vector_scope(const MergeSettings&) const { return VectorScope::kTensor; }
  // kProducts: the coefficients of one vector, in the order of `products`. `has_base`: they are task vectors, to be added to
  // the base. InvalidArgument: these sources have no such combination.
  virtual absl::Status Combine(const MergeSettings& settings, const Products& products, bool has_base,
                               absl::Span<double> coefficients) const;

  // Merge() and StoreBlock() in one pass over stored values, with the same bits: whether all results are finite. nullopt,
  // and nothing done: not with these terms.
  virtual std::optional<bool> MergeBF16(const TensorTerms&, const BF16Block&) const { return std::nullopt; }

  // Writes the `block.count` merged values to `out`, which overlaps nothing. Each value depends only on the same position of
  // base and sources, and on the terms.
  virtual void Merge(const TensorTerms& terms, const MergeBlock& block, float* out) const = 0;

 protected:
  // REQUIRES: a row of AllMethodSpecs().
  explicit MergeMethod(absl::string_view name);

 private:
  const MethodSpec& spec_;
};

// All methods, in the order of AllMethodSpecs(). A new method is added here.
const std::vector<const MergeMethod*>& AllMergeMethods();

// The method of that name, or nullptr.
const MergeMethod* FindMergeMethod(absl::string_view name);

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_MERGE_METHOD_H_
