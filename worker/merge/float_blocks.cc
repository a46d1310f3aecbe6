#include "worker/merge/float_blocks.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "common/base/log.h"
#include "worker/merge/bf16_rounding.h"
#include "worker/merge/multiversion.h"

namespace merganser {
namespace {

constexpr uint32_t kExponent = 0x7f800000u;

template <typename T>
inline T At(const std::byte* data, int64_t i) {
  T value;
  std::memcpy(&value, data + i * sizeof(T), sizeof(T));
  return value;
}

MG_MULTIVERSION void LoadBF16(const std::byte* data, int64_t count, float* out) {
  for (int64_t i = 0; i < count; ++i) out[i] = std::bit_cast<float>(uint32_t{At<uint16_t>(data, i)} << 16);
}

MG_MULTIVERSION void LoadF16(const std::byte* data, int64_t count, float* out) {
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t half = At<uint16_t>(data, i);
    // The exponent's bias changes by 112; the multiplication also normalises subnormals.
    const float magnitude = std::bit_cast<float>((half & 0x7fffu) << 13) * 0x1p112f;
    const uint32_t special = (half & 0x7c00u) == 0x7c00u ? kExponent : 0u;
    out[i] = std::bit_cast<float>(std::bit_cast<uint32_t>(magnitude) | special | (half & 0x8000u) << 16);
  }
}

MG_MULTIVERSION void LoadF64(const std::byte* data, int64_t count, float* out) {
  for (int64_t i = 0; i < count; ++i) out[i] = static_cast<float>(At<double>(data, i));
}

MG_MULTIVERSION bool StoreF32(const float* in, int64_t count, std::byte* out) {
  uint32_t bad = 0;
  for (int64_t i = 0; i < count; ++i) bad |= (std::bit_cast<uint32_t>(in[i]) & kExponent) == kExponent ? 1u : 0u;
  std::memcpy(out, in, count * sizeof(float));
  return bad == 0;
}

MG_MULTIVERSION bool StoreBF16(const float* in, int64_t count, std::byte* out) {
  uint32_t bad = 0;
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t rounded = RoundedToBF16(std::bit_cast<uint32_t>(in[i]));
    bad |= (rounded & 0x7f80u) == 0x7f80u ? 1u : 0u;
    const uint16_t stored = static_cast<uint16_t>(rounded);
    std::memcpy(out + 2 * i, &stored, 2);
  }
  return bad == 0;
}

MG_MULTIVERSION bool StoreF16(const float* in, int64_t count, std::byte* out) {
  uint32_t bad = 0;
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t bits = std::bit_cast<uint32_t>(in[i]);
    const uint32_t magnitude = bits & 0x7fffffffu;
    // Below 2^-14: adding 0.5, whose last bit is worth 2^-24, lets the addition round to the
    // subnormal grid.
    const uint32_t subnormal = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - 0x3f000000u;
    const uint32_t normal = (magnitude - 0x38000000u + 0xfffu + (magnitude >> 13 & 1u)) >> 13;
    uint32_t half = magnitude < 0x38800000u ? subnormal : normal;
    half = magnitude >= 0x47800000u ? 0x7c00u : half;
    half = magnitude > kExponent ? 0x7e00u : half;
    bad |= (half & 0x7c00u) == 0x7c00u ? 1u : 0u;
    const uint16_t stored = static_cast<uint16_t>(half | (bits >> 16 & 0x8000u));
    std::memcpy(out + 2 * i, &stored, 2);
  }
  return bad == 0;
}

MG_MULTIVERSION bool AllFinite16(const std::byte* data, int64_t count, uint16_t exponent) {
  uint32_t bad = 0;
  for (int64_t i = 0; i < count; ++i) bad |= (At<uint16_t>(data, i) & exponent) == exponent ? 1u : 0u;
  return bad == 0;
}

MG_MULTIVERSION bool AllFinite32(const std::byte* data, int64_t count) {
  uint32_t bad = 0;
  for (int64_t i = 0; i < count; ++i) bad |= (At<uint32_t>(data, i) & kExponent) == kExponent ? 1u : 0u;
  return bad == 0;
}

}  // namespace

bool IsMergeable(DType dtype) {
  return dtype == DType::kF64 || dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16;
}

void LoadBlock(const FloatTensor& tensor, int64_t first, int64_t count, float* out) {
  if (count == 0) return;  // an empty tensor may have no address
  const std::byte* data = tensor.data + first * SizeOf(tensor.dtype);
  switch (tensor.dtype) {
    case DType::kBF16:
      return LoadBF16(data, count, out);
    case DType::kF16:
      return LoadF16(data, count, out);
    case DType::kF64:
      return LoadF64(data, count, out);
    case DType::kF32:
      std::memcpy(out, data, count * sizeof(float));
      return;
    default:
      MG_CHECK(IsMergeable(tensor.dtype));
  }
}

bool StoreBlock(DType dtype, const float* in, int64_t count, std::byte* out) {
  if (count == 0) return true;
  if (dtype == DType::kBF16) return StoreBF16(in, count, out);
  if (dtype == DType::kF16) return StoreF16(in, count, out);
  MG_CHECK(dtype == DType::kF32);
  return StoreF32(in, count, out);
}

int64_t FirstNonFinite(const FloatTensor& tensor, int64_t first, int64_t count) {
  const std::byte* data = tensor.data + first * SizeOf(tensor.dtype);
  if (tensor.dtype == DType::kBF16 && AllFinite16(data, count, 0x7f80)) return -1;
  if (tensor.dtype == DType::kF16 && AllFinite16(data, count, 0x7c00)) return -1;
  if (tensor.dtype == DType::kF32 && AllFinite32(data, count)) return -1;
  float block[256];
  for (int64_t at = 0; at < count; at += 256) {
    const int64_t n = std::min<int64_t>(256, count - at);
    LoadBlock(tensor, first + at, n, block);
    for (int64_t i = 0; i < n; ++i) {
      if ((std::bit_cast<uint32_t>(block[i]) & kExponent) == kExponent) return first + at + i;
    }
  }
  return -1;
}

}  // namespace merganser
