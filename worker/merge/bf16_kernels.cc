#include "worker/merge/bf16_kernels.h"

#include <bit>
#include <cstring>

#include "common/base/log.h"
#include "worker/merge/bf16_rounding.h"
#include "worker/merge/multiversion.h"

namespace merganser {
namespace {

#define MG_INLINE __attribute__((always_inline)) inline

MG_INLINE float At(const std::byte* data, int64_t i) {
  uint16_t value;
  std::memcpy(&value, data + 2 * i, 2);
  return std::bit_cast<float>(uint32_t{value} << 16);
}

// Stores `value` as element i; `bad` gets a bit if it is not finite.
MG_INLINE void Put(float value, int64_t i, std::byte* out, uint32_t& bad) {
  const uint32_t rounded = RoundedToBF16(std::bit_cast<uint32_t>(value));
  bad |= (rounded & 0x7f80u) == 0x7f80u ? 1u : 0u;
  const auto stored = static_cast<uint16_t>(rounded);
  std::memcpy(out + 2 * i, &stored, 2);
}

MG_INLINE uint32_t OnesIf(bool condition) { return 0u - static_cast<uint32_t>(condition); }
constexpr uint32_t kOneBits = 0x3f800000u;  // of 1.0f

template <int kSources, bool kDivide>
MG_INLINE bool WeightedSum(const std::byte* const* x, const float* weights, float divisor, int64_t count,
                           std::byte* __restrict out) {
  const std::byte* __restrict from[kSources];
  float weight[kSources];
  for (int s = 0; s < kSources; ++s) from[s] = x[s], weight[s] = weights[s];
  uint32_t bad = 0;
  for (int64_t i = 0; i < count; ++i) {
    float sum = 0;
    for (int s = 0; s < kSources; ++s) sum += weight[s] * At(from[s], i);
    Put(kDivide ? sum / divisor : sum, i, out, bad);
  }
  return bad == 0;
}

template <int kSources, bool kDivide>
MG_INLINE bool AddTaskVectors(const std::byte* __restrict base, const std::byte* const* x, const float* weights,
                              float divisor, float lambda, int64_t count, std::byte* __restrict out) {
  const std::byte* __restrict from[kSources];
  float weight[kSources];
  for (int s = 0; s < kSources; ++s) from[s] = x[s], weight[s] = weights[s];
  uint32_t bad = 0;
  for (int64_t i = 0; i < count; ++i) {
    const float origin = At(base, i);
    float sum = 0;
    for (int s = 0; s < kSources; ++s) sum += weight[s] * (At(from[s], i) - origin);
    if (kDivide) sum /= divisor;
    Put(origin + lambda * sum, i, out, bad);
  }
  return bad == 0;
}

template <int kSources, bool kNormalize>
MG_INLINE bool MergeBySign(const std::byte* __restrict base, const TrimmedSource* sources, float lambda, int64_t count,
                           std::byte* __restrict out) {
  const std::byte* __restrict from[kSources];
  uint32_t threshold[kSources];
  float scale[kSources], weight[kSources];
  for (int s = 0; s < kSources; ++s) {
    from[s] = sources[s].x;
    threshold[s] = sources[s].threshold;
    scale[s] = sources[s].scale;
    weight[s] = sources[s].weight;
  }
  uint32_t bad = 0;
  for (int64_t i = 0; i < count; ++i) {
    const float origin = At(base, i);
    float d[kSources];
    float total = 0;
    for (int s = 0; s < kSources; ++s) {
      const uint32_t bits = std::bit_cast<uint32_t>(At(from[s], i) - origin);
      d[s] = std::bit_cast<float>(bits & OnesIf((bits & 0x7fffffffu) >= threshold[s])) * scale[s] * weight[s];
      total += d[s];
    }
    const uint32_t flip = 0x80000000u & ~OnesIf(total >= 0);
    float own = 0, own_weight = 0;
    for (int s = 0; s < kSources; ++s) {
      const uint32_t bits = std::bit_cast<uint32_t>(d[s]);
      const uint32_t agrees = OnesIf(std::bit_cast<float>(bits ^ flip) > 0);
      own += std::bit_cast<float>(bits & agrees);
      own_weight += std::bit_cast<float>(std::bit_cast<uint32_t>(weight[s]) & agrees);
    }
    if (kNormalize) own /= own_weight + std::bit_cast<float>(kOneBits & OnesIf(own_weight == 0));
    Put(origin + lambda * own, i, out, bad);
  }
  return bad == 0;
}

// One function for each number of sources, which the compiler must know to keep all of an element in registers.
#define MG_KERNELS(n)                                                                                                    \
  MG_MULTIVERSION bool WeightedSum##n(const std::byte* const* x, const float* weights, bool divide, float divisor,       \
                                      int64_t count, std::byte* out) {                                                   \
    return divide ? WeightedSum<n, true>(x, weights, divisor, count, out)                                                \
                  : WeightedSum<n, false>(x, weights, 1, count, out);                                                    \
  }                                                                                                                      \
  MG_MULTIVERSION bool AddTaskVectors##n(const std::byte* base, const std::byte* const* x, const float* weights,         \
                                         bool divide, float divisor, float lambda, int64_t count, std::byte* out) {      \
    return divide ? AddTaskVectors<n, true>(base, x, weights, divisor, lambda, count, out)                               \
                  : AddTaskVectors<n, false>(base, x, weights, 1, lambda, count, out);                                   \
  }                                                                                                                      \
  MG_MULTIVERSION bool MergeBySign##n(const std::byte* base, const TrimmedSource* sources, bool normalize, float lambda, \
                                      int64_t count, std::byte* out) {                                                   \
    return normalize ? MergeBySign<n, true>(base, sources, lambda, count, out)                                           \
                     : MergeBySign<n, false>(base, sources, lambda, count, out);                                         \
  }

MG_KERNELS(1)
MG_KERNELS(2)
MG_KERNELS(3)
MG_KERNELS(4)

}  // namespace

bool WeightedSumBF16(const std::byte* const* x, const float* weights, int sources, bool divide, float divisor, int64_t count,
                     std::byte* out) {
  MG_CHECK(sources >= 1 && sources <= kBF16SourcesMax);
  if (sources == 1) return WeightedSum1(x, weights, divide, divisor, count, out);
  if (sources == 2) return WeightedSum2(x, weights, divide, divisor, count, out);
  if (sources == 3) return WeightedSum3(x, weights, divide, divisor, count, out);
  return WeightedSum4(x, weights, divide, divisor, count, out);
}

bool AddTaskVectorsBF16(const std::byte* base, const std::byte* const* x, const float* weights, int sources, bool divide,
                        float divisor, float lambda, int64_t count, std::byte* out) {
  MG_CHECK(sources >= 1 && sources <= kBF16SourcesMax);
  if (sources == 1) return AddTaskVectors1(base, x, weights, divide, divisor, lambda, count, out);
  if (sources == 2) return AddTaskVectors2(base, x, weights, divide, divisor, lambda, count, out);
  if (sources == 3) return AddTaskVectors3(base, x, weights, divide, divisor, lambda, count, out);
  return AddTaskVectors4(base, x, weights, divide, divisor, lambda, count, out);
}

bool MergeBySignBF16(const std::byte* base, const TrimmedSource* sources, int count_of_sources, bool normalize, float lambda,
                     int64_t count, std::byte* out) {
  MG_CHECK(count_of_sources >= 1 && count_of_sources <= kBF16SourcesMax);
  if (count_of_sources == 1) return MergeBySign1(base, sources, normalize, lambda, count, out);
  if (count_of_sources == 2) return MergeBySign2(base, sources, normalize, lambda, count, out);
  if (count_of_sources == 3) return MergeBySign3(base, sources, normalize, lambda, count, out);
  return MergeBySign4(base, sources, normalize, lambda, count, out);
}

}  // namespace merganser
