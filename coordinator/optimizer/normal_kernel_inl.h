// Standard normal numbers for dense_kernels_inl.h: those of Rng::Normal (common/base/rng.h) but for their last digits, many
// at once. Nothing here branches on a number, so the loops become vector instructions; logarithm and cosine are power series
// for the same reason (the library's take one number at a time).
#ifndef MERGANSER_COORDINATOR_OPTIMIZER_NORMAL_KERNEL_INL_H_
#define MERGANSER_COORDINATOR_OPTIMIZER_NORMAL_KERNEL_INL_H_

#include <Eigen/Core>
#include <cstdint>
#include <cstring>

namespace merganser {
namespace {

constexpr int64_t kLanes = 64;  // numbers at once; a shorter rest is computed whole, so that its bits are the same

inline uint64_t Bits(double x) {
  uint64_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  return bits;
}

inline double Double(uint64_t bits) {
  double x;
  std::memcpy(&x, &bits, sizeof(x));
  return x;
}

// 2^53 times Rng::Uniform of the draw whose words are `low` and `high`. The words are put into the mantissa of 2^52, which
// is exact and, other than a conversion, an instruction of every set.
inline double Scaled(uint32_t low, uint32_t high) {
  constexpr uint64_t kTwo52 = 0x4330000000000000;
  const double top = Double(kTwo52 | high) - 0x1p52, bottom = Double(kTwo52 | (low >> 11)) - 0x1p52;
  return top * 0x1p21 + bottom;
}

// Natural logarithm, x in (0, 1] and normal: x = 2^e m with m in [sqrt(1/2), sqrt(2)); log m = 2 atanh((m - 1) / (m + 1)).
inline double Log(double x) {
  constexpr uint64_t kSqrtHalf = 0x3fe6a09e667f3bcd, kOne = 0x3ff0000000000000, kMantissa = 0x000fffffffffffff;
  const uint64_t shifted = Bits(x) + (kOne - kSqrtHalf);
  const double m = Double((shifted & kMantissa) + kSqrtHalf);
  // The exponent is at most 0: 2^52 minus its absolute value, put together as above.
  const double e = 0x1p52 - Double(0x4330000000000000 | (uint64_t{1023} - (shifted >> 52)));
  const double s = (m - 1) / (m + 1), q = s * s;
  double series = 1.0 / 23;
  for (const double c : {1.0 / 21, 1.0 / 19, 1.0 / 17, 1.0 / 15, 1.0 / 13, 1.0 / 11, 1.0 / 9, 1.0 / 7, 1.0 / 5, 1.0 / 3}) {
    series = series * q + c;
  }
  return e * 0x1.62e42fefa39efp-1 + 2 * (s + s * q * series);
}

// cos(2 pi x), x in [0, 1): x = k / 4 + r with abs(r) <= 1/8.
inline double CosTurns(double x) {
  constexpr double kRound = 0x1.8p52;  // added and taken off, it rounds to a whole number, whose last bits it shows
  const double shifted = 4 * x + kRound;
  const uint64_t k = Bits(shifted);
  const double a = (4 * x - (shifted - kRound)) * 0x1.921fb54442d18p+0, q = a * a;
  double cosine = -1.0 / 6402373705728000;  // 18!
  for (const double c : {1.0 / 20922789888000, -1.0 / 87178291200, 1.0 / 479001600, -1.0 / 3628800, 1.0 / 40320, -1.0 / 720,
                         1.0 / 24, -1.0 / 2, 1.0}) {
    cosine = cosine * q + c;
  }
  double sine = 1.0 / 355687428096000;  // 17!
  for (const double c :
       {-1.0 / 1307674368000, 1.0 / 6227020800, -1.0 / 39916800, 1.0 / 362880, -1.0 / 5040, 1.0 / 120, -1.0 / 6, 1.0}) {
    sine = sine * q + c;
  }
  sine *= a;
  // A quarter turn makes -sin of cos, another -cos.
  const uint64_t odd = uint64_t{0} - (k & 1);
  const uint64_t sign = ((k + 1) & 2) << 62;
  return Double(((Bits(sine) & odd) | (Bits(cosine) & ~odd)) ^ sign);
}

inline void NormalBlock(uint64_t key, uint64_t stream, uint64_t first, double* __restrict out) {
  // Philox4x32-10 as in common/base/rng.h.
  uint32_t c0[kLanes], c1[kLanes], c2[kLanes], c3[kLanes];
  for (int64_t i = 0; i < kLanes; ++i) {
    const uint64_t counter = first + static_cast<uint64_t>(i);
    c0[i] = static_cast<uint32_t>(counter);
    c1[i] = static_cast<uint32_t>(counter >> 32);
    c2[i] = static_cast<uint32_t>(stream);
    c3[i] = static_cast<uint32_t>(stream >> 32);
  }
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    for (int64_t i = 0; i < kLanes; ++i) {
      const uint64_t p0 = uint64_t{0xD2511F53} * c0[i], p1 = uint64_t{0xCD9E8D57} * c2[i];
      c0[i] = static_cast<uint32_t>(p1 >> 32) ^ c1[i] ^ k0;
      c2[i] = static_cast<uint32_t>(p0 >> 32) ^ c3[i] ^ k1;
      c1[i] = static_cast<uint32_t>(p1);
      c3[i] = static_cast<uint32_t>(p0);
    }
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  // Aligned and of a fixed size: Eigen takes the first and last numbers of others one by one, whose root may have other
  // bits.
  alignas(64) double square[kLanes], turn[kLanes];
  for (int64_t i = 0; i < kLanes; ++i) {
    square[i] = -2 * Log(1 - Scaled(c0[i], c1[i]) * 0x1p-53);
    turn[i] = CosTurns(Scaled(c2[i], c3[i]) * 0x1p-53);
  }
  using Lanes = Eigen::Map<Eigen::Array<double, kLanes, 1>, Eigen::Aligned64>;
  Lanes normals(turn);
  normals *= Lanes(square).sqrt();
  std::memcpy(out, turn, sizeof(turn));
}

void Normals(uint64_t key, uint64_t stream, uint64_t first, int64_t n, double* out) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) NormalBlock(key, stream, first + static_cast<uint64_t>(i), out + i);
  if (i == n) return;
  double rest[kLanes];
  NormalBlock(key, stream, first + static_cast<uint64_t>(i), rest);
  std::memcpy(out + i, rest, static_cast<size_t>(n - i) * sizeof(double));
}

}  // namespace
}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_OPTIMIZER_NORMAL_KERNEL_INL_H_
