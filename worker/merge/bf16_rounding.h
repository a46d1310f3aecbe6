// How fp32 becomes bf16, in one place.
#ifndef MERGANSER_WORKER_MERGE_BF16_ROUNDING_H_
#define MERGANSER_WORKER_MERGE_BF16_ROUNDING_H_

#include <cstdint>

namespace merganser {

// The bf16 nearest to the fp32 of these bits, ties to even, in the lower half; a NaN stays one (quiet).
__attribute__((always_inline)) inline uint32_t RoundedToBF16(uint32_t bits) {
  const bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
  return nan ? (bits >> 16 | 0x40u) : (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
}

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_BF16_ROUNDING_H_
