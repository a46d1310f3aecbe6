// Asks for memory before it is needed: sources stream, and the processor does not look beyond a page by itself.
#ifndef MERGANSER_WORKER_MERGE_PREFETCH_H_
#define MERGANSER_WORKER_MERGE_PREFETCH_H_

#include <algorithm>
#include <cstdint>

#include "worker/merge/float_blocks.h"

namespace merganser {

// Elements [first, first + count) of `tensor`, as far as it has them.
inline void Prefetch(const FloatTensor& tensor, int64_t first, int64_t count) {
  constexpr int64_t kLine = 64;
  const int64_t size = SizeOf(tensor.dtype);
  const std::byte* const data = tensor.data + first * size;
  const int64_t bytes = std::min(count, tensor.count - first) * size;
  for (int64_t at = 0; at < bytes; at += kLine) __builtin_prefetch(data + at);
}

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_PREFETCH_H_
