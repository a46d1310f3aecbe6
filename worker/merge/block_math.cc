#include "worker/merge/block_math.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "worker/merge/multiversion.h"

namespace merganser {

MG_MULTIVERSION void AddScaled(const float* __restrict x, float weight, int64_t count, float* __restrict acc) {
  for (int64_t i = 0; i < count; ++i) acc[i] += weight * x[i];
}

void LoadDifference(const FloatTensor& base, const FloatTensor& source, int64_t first, int64_t count, float* x) {
  constexpr int64_t kPiece = 4096;
  float b[kPiece];
  for (int64_t at = 0; at < count; at += kPiece) {
    const int64_t n = std::min(kPiece, count - at);
    LoadBlock(base, first + at, n, b);
    LoadBlock(source, first + at, n, x + at);
    Subtract(b, n, x + at);
  }
}

MG_MULTIVERSION void AddScaledDifference(const float* __restrict x, const float* __restrict base, float weight,
                                         int64_t count, float* __restrict acc) {
  for (int64_t i = 0; i < count; ++i) acc[i] += weight * (x[i] - base[i]);
}

MG_MULTIVERSION void Subtract(const float* __restrict base, int64_t count, float* __restrict x) {
  for (int64_t i = 0; i < count; ++i) x[i] -= base[i];
}

MG_MULTIVERSION void Scale(float factor, int64_t count, float* x) {
  for (int64_t i = 0; i < count; ++i) x[i] *= factor;
}

MG_MULTIVERSION void Divide(float divisor, int64_t count, float* x) {
  for (int64_t i = 0; i < count; ++i) x[i] /= divisor;
}

MG_MULTIVERSION void DivideEach(const float* __restrict divisors, int64_t count, float* __restrict x) {
  for (int64_t i = 0; i < count; ++i) x[i] /= divisors[i];
}

MG_MULTIVERSION void MultiplyEach(const float* __restrict factors, int64_t count, float* __restrict x) {
  for (int64_t i = 0; i < count; ++i) x[i] *= factors[i];
}

MG_MULTIVERSION void AddToBase(const float* base, const float* x, float factor, int64_t count, float* out) {
  for (int64_t i = 0; i < count; ++i) out[i] = base[i] + factor * x[i];
}

namespace {

// Above the threshold, or equal to it: [0, equal_end) keeps equal ones.
MG_MULTIVERSION void KeepFrom(uint32_t threshold, int64_t count, float* x) {
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t bits = std::bit_cast<uint32_t>(x[i]);
    x[i] = std::bit_cast<float>((bits & 0x7fffffffu) >= threshold ? bits : 0u);
  }
}

MG_MULTIVERSION void DropFrom(uint32_t threshold, int64_t count, float* x) {
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t bits = std::bit_cast<uint32_t>(x[i]);
    x[i] = std::bit_cast<float>((bits & 0x7fffffffu) >= threshold ? 0u : bits);
  }
}

// End of the elements of the run that `cut` keeps although they are equal to its threshold.
int64_t EqualEnd(const MagnitudeCut& cut, int64_t first, int64_t count) {
  return std::clamp<int64_t>(cut.last_index == INT64_MAX ? count : cut.last_index + 1 - first, 0, count);
}

}  // namespace

void Trim(const MagnitudeCut& cut, int64_t first, int64_t count, float* x) {
  const int64_t equal_end = EqualEnd(cut, first, count);
  KeepFrom(cut.threshold, equal_end, x);
  KeepFrom(cut.threshold + 1, count - equal_end, x + equal_end);
}

void Drop(const MagnitudeCut& cut, int64_t first, int64_t count, float* x) {
  const int64_t equal_end = EqualEnd(cut, first, count);
  DropFrom(cut.threshold, equal_end, x);
  DropFrom(cut.threshold + 1, count - equal_end, x + equal_end);
}

MG_MULTIVERSION void KeepWhereNonzero(const float* __restrict mask, int64_t count, float* __restrict x) {
  for (int64_t i = 0; i < count; ++i) x[i] = mask[i] != 0 ? x[i] : 0.0f;
}

MG_MULTIVERSION void DivideByProbability(const uint32_t* __restrict ranks, const RankedMask& mask, int64_t count,
                                         float* __restrict x) {
  const float low = mask.low, step = mask.step;
  for (int64_t i = 0; i < count; ++i) x[i] /= low + static_cast<float>(static_cast<int32_t>(ranks[i])) * step;
}

namespace {

// Selections by masks: without AVX-512 compilers make branches of conditional sums, and no vectors.
inline uint32_t OnesIf(bool condition) { return 0u - static_cast<uint32_t>(condition); }
constexpr uint32_t kOneBits = 0x3f800000u;  // of 1.0f

// SumAgreeing for a number of sources that the compiler knows: all of an element stays in registers.
template <int kSources>
__attribute__((always_inline)) inline void SumAgreeingOf(float* const* x, const float* weights, int64_t count,
                                                         float* __restrict sum, float* __restrict weight_sum) {
  const float* from[kSources];
  float weight[kSources];
  for (int s = 0; s < kSources; ++s) from[s] = x[s], weight[s] = weights[s];
  for (int64_t i = 0; i < count; ++i) {
    float total = 0;
    for (int s = 0; s < kSources; ++s) total += from[s][i];
    const uint32_t flip = 0x80000000u & ~OnesIf(total >= 0);
    float own = 0, own_weight = 0;
    for (int s = 0; s < kSources; ++s) {
      const uint32_t d = std::bit_cast<uint32_t>(from[s][i]);
      const uint32_t agrees = OnesIf(std::bit_cast<float>(d ^ flip) > 0);
      own += std::bit_cast<float>(d & agrees);
      own_weight += std::bit_cast<float>(std::bit_cast<uint32_t>(weight[s]) & agrees);
    }
    sum[i] = own;
    weight_sum[i] = own_weight + std::bit_cast<float>(kOneBits & OnesIf(own_weight == 0));
  }
}

MG_MULTIVERSION void SumAgreeingOfOne(float* const* x, const float* weights, int64_t count, float* sum, float* weight_sum) {
  SumAgreeingOf<1>(x, weights, count, sum, weight_sum);
}
MG_MULTIVERSION void SumAgreeingOfTwo(float* const* x, const float* weights, int64_t count, float* sum, float* weight_sum) {
  SumAgreeingOf<2>(x, weights, count, sum, weight_sum);
}
MG_MULTIVERSION void SumAgreeingOfThree(float* const* x, const float* weights, int64_t count, float* sum,
                                        float* weight_sum) {
  SumAgreeingOf<3>(x, weights, count, sum, weight_sum);
}

MG_MULTIVERSION void SumAgreeingOfMany(float* const* x, const float* weights, int sources, int64_t count,
                                       float* __restrict sum, float* __restrict weight_sum) {
  constexpr int64_t kTile = 256;  // totals stay in the first-level cache
  float total[kTile];
  for (int64_t at = 0; at < count; at += kTile) {
    const int64_t n = std::min(kTile, count - at);
    for (int64_t i = 0; i < n; ++i) total[i] = 0;
    for (int s = 0; s < sources; ++s) {
      const float* __restrict d = x[s] + at;
      for (int64_t i = 0; i < n; ++i) total[i] += d[i];
    }
    for (int64_t i = 0; i < n; ++i) sum[at + i] = weight_sum[at + i] = 0;
    for (int s = 0; s < sources; ++s) {
      const float* __restrict d = x[s] + at;
      const float weight = weights[s];
      for (int64_t i = 0; i < n; ++i) {
        const float signed_to_majority = total[i] >= 0 ? d[i] : -d[i];
        sum[at + i] += signed_to_majority > 0 ? d[i] : 0.0f;
        weight_sum[at + i] += signed_to_majority > 0 ? weight : 0.0f;
      }
    }
    for (int64_t i = 0; i < n; ++i) weight_sum[at + i] = weight_sum[at + i] == 0 ? 1.0f : weight_sum[at + i];
  }
}

}  // namespace

void SumAgreeing(float* const* x, const float* weights, int sources, int64_t count, float* sum, float* weight_sum) {
  if (sources == 1) return SumAgreeingOfOne(x, weights, count, sum, weight_sum);
  if (sources == 2) return SumAgreeingOfTwo(x, weights, count, sum, weight_sum);
  if (sources == 3) return SumAgreeingOfThree(x, weights, count, sum, weight_sum);
  SumAgreeingOfMany(x, weights, sources, count, sum, weight_sum);
}

MG_MULTIVERSION void AverageAgreeing(float* const* x, const float* weights, int sources, int64_t count,
                                     float* __restrict out, float* __restrict weight_sum) {
  constexpr int64_t kTile = 256;
  float total[kTile];
  for (int64_t at = 0; at < count; at += kTile) {
    const int64_t n = std::min(kTile, count - at);
    for (int64_t i = 0; i < n; ++i) total[i] = out[at + i] = weight_sum[at + i] = 0;
    for (int s = 0; s < sources; ++s) {
      const float* __restrict d = x[s] + at;
      for (int64_t i = 0; i < n; ++i) total[i] += d[i];
    }
    for (int s = 0; s < sources; ++s) {
      const float* __restrict d = x[s] + at;
      const float weight = weights[s];
      for (int64_t i = 0; i < n; ++i) {
        const float signed_to_majority = total[i] >= 0 ? d[i] : -d[i];
        const float own = signed_to_majority > 0 ? weight : 0.0f;
        out[at + i] += d[i] * own;
        weight_sum[at + i] += own;
      }
    }
    for (int64_t i = 0; i < n; ++i) out[at + i] /= weight_sum[at + i] < 1e-6f ? 1e-6f : weight_sum[at + i];
  }
}

MG_MULTIVERSION void Variance(const float* const* x, int sources, int64_t count, float* __restrict out) {
  constexpr int64_t kTile = 256;
  double mean[kTile], squares[kTile];
  for (int64_t at = 0; at < count; at += kTile) {
    const int64_t n = std::min(kTile, count - at);
    for (int64_t i = 0; i < n; ++i) mean[i] = squares[i] = 0;
    for (int s = 0; s < sources; ++s) {
      const float* __restrict own = x[s] + at;
      for (int64_t i = 0; i < n; ++i) {
        // Welford, 1962.
        const double before = static_cast<double>(own[i]) - mean[i];
        mean[i] += before / (s + 1);
        squares[i] += before * (static_cast<double>(own[i]) - mean[i]);
      }
    }
    for (int64_t i = 0; i < n; ++i) out[at + i] = static_cast<float>(squares[i] / sources);
  }
}

MG_MULTIVERSION void SumOwnAndShared(const float* __restrict base, float* const* x, const float* own_factors, int sources,
                                     float epsilon, int64_t count, float* __restrict out) {
  constexpr int64_t kTile = 256;
  float having[kTile], sum[kTile];
  for (int64_t at = 0; at < count; at += kTile) {
    const int64_t n = std::min(kTile, count - at);
    const float* __restrict b = base + at;
    for (int64_t i = 0; i < n; ++i) having[i] = sum[i] = 0;
    for (int s = 0; s < sources; ++s) {
      const float* __restrict v = x[s] + at;
      for (int64_t i = 0; i < n; ++i) having[i] += std::fabs(v[i] - b[i]) > epsilon ? 1.0f : 0.0f;
    }
    for (int s = 0; s < sources; ++s) {
      const float* __restrict v = x[s] + at;
      const float own = own_factors[s];
      for (int64_t i = 0; i < n; ++i) {
        const float d = v[i] - b[i];
        const float part = having[i] > 1 ? d / having[i] : d * own;
        sum[i] += std::fabs(d) > epsilon ? part : 0.0f;
      }
    }
    for (int64_t i = 0; i < n; ++i) out[at + i] = b[i] + sum[i];
  }
}

MG_MULTIVERSION void SwapNear(const float* __restrict base, const float* __restrict x, float t, int64_t count,
                              float* __restrict out) {
  for (int64_t i = 0; i < count; ++i) {
    const float distance = std::fabs(base[i] - x[i]);
    float v = t / (distance < 1e-6f ? 1e-6f : distance);
    v = v < 0 ? 0.0f : v;
    v = v > 1 ? 1.0f : v;
    out[i] = v * x[i] + (1 - v) * base[i];
  }
}

MG_MULTIVERSION void AddSquares(const float* x, int64_t count, L1Lanes& lanes) {
  double sums[8];
  for (int l = 0; l < 8; ++l) sums[l] = lanes[l];
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    for (int l = 0; l < 8; ++l) sums[l] += static_cast<double>(x[i + l]) * static_cast<double>(x[i + l]);
  }
  for (; i < count; ++i) sums[i % 8] += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  for (int l = 0; l < 8; ++l) lanes[l] = sums[l];
}

MG_MULTIVERSION void AddL1(const float* x, int64_t count, L1Lanes& lanes) {
  double sums[8];
  for (int l = 0; l < 8; ++l) sums[l] = lanes[l];
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    for (int l = 0; l < 8; ++l) sums[l] += static_cast<double>(std::fabs(x[i + l]));
  }
  for (; i < count; ++i) sums[i % 8] += static_cast<double>(std::fabs(x[i]));
  for (int l = 0; l < 8; ++l) lanes[l] = sums[l];
}

double Total(const L1Lanes& lanes) {
  double total = 0;
  for (const double lane : lanes) total += lane;
  return total;
}

}  // namespace merganser
