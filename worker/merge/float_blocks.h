// Conversion between stored weights and the fp32 blocks that merge methods work on. Values are
// little-endian and may be misaligned. Any thread.
#ifndef MERGANSER_WORKER_MERGE_FLOAT_BLOCKS_H_
#define MERGANSER_WORKER_MERGE_FLOAT_BLOCKS_H_

#include <cstddef>
#include <cstdint>

#include "worker/checkpoint/dtype.h"

namespace merganser {

// Elements of one stored tensor.
struct FloatTensor {
  DType dtype = DType::kF32;
  const std::byte* data = nullptr;
  int64_t count = 0;  // elements
};

// F64, F32, F16 and BF16: the types whose tensors can be merged.
bool IsMergeable(DType dtype);

// out[i] = element first + i of `tensor`, as fp32 (exact but for F64, which is rounded to nearest).
// REQUIRES: IsMergeable(tensor.dtype), first + count <= tensor.count.
void LoadBlock(const FloatTensor& tensor, int64_t first, int64_t count, float* out);

// Writes in[0..count) as `dtype` (F32, F16 or BF16), rounded to nearest, ties to even; beyond the
// range: infinity. NaN stays NaN. True if all that was written is finite.
bool StoreBlock(DType dtype, const float* in, int64_t count, std::byte* out);

// Index of the first element in [first, first + count) that is NaN or infinite once it is fp32, or
// -1.
int64_t FirstNonFinite(const FloatTensor& tensor, int64_t first, int64_t count);

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_FLOAT_BLOCKS_H_
