#include "worker/checkpoint/finite_scan.h"

#include <algorithm>
#include <cstring>

namespace merganser {
namespace {

// A value is NaN or infinite if its bits under `mask` are all ones. For BF16, F16, F32, F64 and
// F8_E5M2 the mask is the exponent; F8_E4M3 has only the NaN with all bits but the sign set.
template <typename Word>
std::optional<int64_t> Scan(absl::Span<const std::byte> data, Word mask) {
  constexpr size_t kBlock = 4096 / sizeof(Word);
  Word block[kBlock];
  const size_t count = data.size() / sizeof(Word);
  for (size_t start = 0; start < count; start += kBlock) {
    const size_t n = std::min(kBlock, count - start);
    std::memcpy(block, data.data() + start * sizeof(Word), n * sizeof(Word));
    Word any = 0;  // without a branch in the loop, so that it becomes vector code
    for (size_t i = 0; i < n; ++i) any |= static_cast<Word>((block[i] & mask) == mask);
    if (any == 0) continue;
    for (size_t i = 0; i < n; ++i) {
      if ((block[i] & mask) == mask) return static_cast<int64_t>(start + i);
    }
  }
  return std::nullopt;
}

template <typename Word>
bool HasMantissa(const TensorView& tensor, int64_t index, Word mantissa) {
  Word word;
  std::memcpy(&word, tensor.data.data() + index * sizeof(Word), sizeof(Word));
  return (word & mantissa) != 0;
}

}  // namespace

std::optional<int64_t> FirstNonFinite(const TensorView& tensor) {
  switch (tensor.dtype) {
    case DType::kF64:
      return Scan<uint64_t>(tensor.data, 0x7ff0000000000000u);
    case DType::kF32:
      return Scan<uint32_t>(tensor.data, 0x7f800000u);
    case DType::kF16:
      return Scan<uint16_t>(tensor.data, 0x7c00u);
    case DType::kBF16:
      return Scan<uint16_t>(tensor.data, 0x7f80u);
    case DType::kF8E5M2:
      return Scan<uint8_t>(tensor.data, 0x7cu);
    case DType::kF8E4M3:
      return Scan<uint8_t>(tensor.data, 0x7fu);
    default:
      return std::nullopt;
  }
}

bool IsNaN(const TensorView& tensor, int64_t index) {
  switch (tensor.dtype) {
    case DType::kF64:
      return HasMantissa<uint64_t>(tensor, index, 0x000fffffffffffffu);
    case DType::kF32:
      return HasMantissa<uint32_t>(tensor, index, 0x007fffffu);
    case DType::kF16:
      return HasMantissa<uint16_t>(tensor, index, 0x03ffu);
    case DType::kBF16:
      return HasMantissa<uint16_t>(tensor, index, 0x007fu);
    case DType::kF8E5M2:
      return HasMantissa<uint8_t>(tensor, index, 0x03u);
    default:
      return true;  // F8_E4M3 has no infinity
  }
}

}  // namespace merganser
