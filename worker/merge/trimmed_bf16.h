// MergeBySignBF16 of bf16_kernels.h by AVX-512, 32 elements at a time: the same operations on each element, so the same
// bits.
#ifndef MERGANSER_WORKER_MERGE_TRIMMED_BF16_H_
#define MERGANSER_WORKER_MERGE_TRIMMED_BF16_H_

#include <cstddef>
#include <cstdint>

#include "worker/merge/bf16_kernels.h"

namespace merganser {

// MergeBySignBF16, by whichever way is the fastest on this machine.
bool MergeTrimmedBySignBF16(const std::byte* base, const TrimmedSource* sources, int count_of_sources, bool normalize,
                            float lambda, int64_t count, std::byte* out);

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_TRIMMED_BF16_H_
