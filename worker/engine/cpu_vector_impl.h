// 16 floats at a time, for cpu_kernels_impl.h alone and in its namespace: compiled once per instruction set.
#ifndef MERGANSER_WORKER_ENGINE_CPU_VECTOR_IMPL_H_
#define MERGANSER_WORKER_ENGINE_CPU_VECTOR_IMPL_H_

#include <cstdint>

#include "worker/engine/cpu_kernels.h"

namespace merganser::MG_KERNEL_NAMESPACE {
namespace {

// A block is kRowsMax rows times kVectors vectors of 16 columns: as many accumulators as leave
// registers for the operands.
#if defined(__AVX512F__)
constexpr int kNative = 16;
constexpr int kRowsMax = 12;  // 24 accumulators of 32 registers
constexpr int kVectors = 2;
#elif defined(__AVX2__)
constexpr int kNative = 8;
constexpr int kRowsMax = 6;  // 12 accumulators of 16 registers
constexpr int kVectors = 1;
#else
constexpr int kNative = 4;
constexpr int kRowsMax = 2;  // 8 of 16
constexpr int kVectors = 1;
#endif
constexpr int kParts = kLane / kNative;
constexpr int kHalves = kPanel / kLane / kVectors;  // blocks side by side in a panel

typedef float Native __attribute__((vector_size(kNative * 4)));
typedef float NativeUnaligned __attribute__((vector_size(kNative * 4), aligned(4), may_alias));
typedef int NativeInt __attribute__((vector_size(kNative * 4)));
typedef unsigned NativeBits __attribute__((vector_size(kNative * 4)));
typedef uint16_t NarrowUnaligned __attribute__((vector_size(kNative * 2), aligned(2), may_alias));

#define MG_INLINE inline __attribute__((always_inline))

// 16 floats, whatever the hardware's width.
struct Vec {
  Native part[kParts];
};

MG_INLINE Vec Load(const float* p) {
  Vec v;
  for (int i = 0; i < kParts; ++i) v.part[i] = *reinterpret_cast<const NativeUnaligned*>(p + i * kNative);
  return v;
}
// 16 bf16 numbers, widened.
MG_INLINE Vec Load(const uint16_t* p) {
  Vec v;
  for (int i = 0; i < kParts; ++i) {
    const NarrowUnaligned narrow = *reinterpret_cast<const NarrowUnaligned*>(p + i * kNative);
    v.part[i] = (Native)(__builtin_convertvector(narrow, NativeBits) << 16);
  }
  return v;
}
MG_INLINE void Store(float* p, const Vec& v) {
  for (int i = 0; i < kParts; ++i) *reinterpret_cast<NativeUnaligned*>(p + i * kNative) = v.part[i];
}
MG_INLINE Vec Splat(float x) {
  Vec v;
  for (int i = 0; i < kParts; ++i) v.part[i] = x - (Native){};
  return v;
}
MG_INLINE Vec operator+(const Vec& a, const Vec& b) {
  Vec v;
  for (int i = 0; i < kParts; ++i) v.part[i] = a.part[i] + b.part[i];
  return v;
}
MG_INLINE Vec operator-(const Vec& a, const Vec& b) {
  Vec v;
  for (int i = 0; i < kParts; ++i) v.part[i] = a.part[i] - b.part[i];
  return v;
}
MG_INLINE Vec operator*(const Vec& a, const Vec& b) {
  Vec v;
  for (int i = 0; i < kParts; ++i) v.part[i] = a.part[i] * b.part[i];
  return v;
}
MG_INLINE Vec operator/(const Vec& a, const Vec& b) {
  Vec v;
  for (int i = 0; i < kParts; ++i) v.part[i] = a.part[i] / b.part[i];
  return v;
}
MG_INLINE Vec operator*(const Vec& a, float b) {
  Vec v;
  for (int i = 0; i < kParts; ++i) v.part[i] = a.part[i] * b;
  return v;
}
MG_INLINE void MultiplyAdd(Vec& c, const Vec& a, float b) {
  for (int i = 0; i < kParts; ++i) c.part[i] += a.part[i] * b;
}
MG_INLINE Vec Max(const Vec& a, const Vec& b) {
  Vec v;
  for (int i = 0; i < kParts; ++i) v.part[i] = a.part[i] > b.part[i] ? a.part[i] : b.part[i];
  return v;
}
// `combine` of all 16: those 8 apart, then 4, 2 and 1, whatever the hardware's width.
template <typename Combine>
MG_INLINE float Reduce(Vec v, const Combine& combine) {
  for (int n = kParts / 2; n > 0; n /= 2) {
    for (int i = 0; i < n; ++i) v.part[i] = combine(v.part[i], v.part[i + n]);
  }
  Native x = v.part[0];
#pragma GCC unroll 4
  for (int w = kNative / 2; w > 0; w /= 2) {
    NativeInt apart;
#pragma GCC unroll 16
    for (int i = 0; i < kNative; ++i) apart[i] = i ^ w;
    x = combine(x, __builtin_shuffle(x, apart));
  }
  return x[0];
}
MG_INLINE float Sum(const Vec& v) {
  return Reduce(v, [](Native a, Native b) { return a + b; });
}
MG_INLINE float MaxOf(const Vec& v) {
  return Reduce(v, [](Native a, Native b) { return a > b ? a : b; });
}

// exp to 2 units in the last place on [-87, 88], clamped outside (Cephes' polynomial).
MG_INLINE Vec Exp(const Vec& x) {
  constexpr float kMagic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer in the low bits
  Vec v;
  for (int i = 0; i < kParts; ++i) {
    const Native lo = -87.0f - (Native){};
    const Native hi = 88.0f - (Native){};
    Native t = x.part[i] > lo ? x.part[i] : lo;
    t = t < hi ? t : hi;
    const Native shifted = t * 1.44269504088896341f + kMagic;
    const Native n = shifted - kMagic;
    const Native r = t - n * 0.693359375f - n * -2.12194440e-4f;
    Native p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    const NativeInt power = ((NativeInt)shifted - 0x4b400000 + 127) << 23;
    v.part[i] = p * (Native)power;
  }
  return v;
}

MG_INLINE Vec Tanh(const Vec& x) {
  const Vec one = Splat(1.0f);
  return one - Splat(2.0f) / (one + Exp(x * 2.0f));
}

}  // namespace
}  // namespace merganser::MG_KERNEL_NAMESPACE

#endif  // MERGANSER_WORKER_ENGINE_CPU_VECTOR_IMPL_H_
