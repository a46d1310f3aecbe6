// Merges of bf16 values under masks as bits in one pass over what is stored, as those of bf16_kernels.h, and the norms of
// what the masks keep: by AVX-512, whose registers of masks are what such bits are. Operation by operation those of
// block_math.h and StoreBlock, so the same bits. Addresses need no alignment.
#ifndef MERGANSER_WORKER_MERGE_MASKED_BF16_H_
#define MERGANSER_WORKER_MERGE_MASKED_BF16_H_

#include <cstddef>
#include <cstdint>

#include "worker/merge/bf16_kernels.h"
#include "worker/merge/block_math.h"

namespace merganser {

// Whether this machine runs them; elsewhere blocks of fp32 do the same.
bool HasMaskedBF16();

// What DARE and DELLA do to one source: elements of x - base whose bit is 1, times scale, times weight.
struct MaskedSource {
  const std::byte* x;
  const uint8_t* bits;  // null: all of them; else readable up to a multiple of 16 elements
  float scale;
  float weight;
};

// These return false if a result is not finite. REQUIRES: HasMaskedBF16(), 1 <= sources <= kBF16SourcesMax.

// out = base + lambda * the sum of what is left, / divisor if `divide`.
bool AddMaskedBF16(const std::byte* base, const MaskedSource* sources, int count_of_sources, bool divide, float divisor,
                   float lambda, int64_t count, std::byte* out);

// out = base + lambda * the sum of what agrees with its sign (SumAgreeing), divided by the agreeing weights if `normalize`.
bool MergeMaskedBySignBF16(const std::byte* base, const MaskedSource* sources, int count_of_sources, bool normalize,
                           float lambda, int64_t count, std::byte* out);

// Adds |x[i] - base[i]| to `whole`, unless that is null, and where the bit is 1 to `kept`. REQUIRES: HasMaskedBF16(); `bits`
// as in MaskedSource, not null.
void AddMaskedL1BF16(const std::byte* x, const std::byte* base, const uint8_t* bits, int64_t count, L1Lanes* whole,
                     L1Lanes& kept);

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_MASKED_BF16_H_
