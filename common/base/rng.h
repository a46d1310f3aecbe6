// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): a counter-based generator. The
// value at (key, counter) does not depend on what was drawn before, so masks and proposals are the same in any order, on
// any worker.
#ifndef MERGANSER_COMMON_BASE_RNG_H_
#define MERGANSER_COMMON_BASE_RNG_H_

#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>

#include "absl/strings/string_view.h"

namespace merganser {

// Four 32-bit words for one 128-bit counter under a 64-bit key.
inline std::array<uint32_t, 4> Philox4x32(uint64_t key, uint64_t counter_low, uint64_t counter_high) {
  uint32_t c0 = static_cast<uint32_t>(counter_low), c1 = static_cast<uint32_t>(counter_low >> 32);
  uint32_t c2 = static_cast<uint32_t>(counter_high), c3 = static_cast<uint32_t>(counter_high >> 32);
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53} * c0;
    const uint64_t p1 = uint64_t{0xCD9E8D57} * c2;
    const uint32_t n0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0;
    const uint32_t n2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c1 = static_cast<uint32_t>(p1);
    c3 = static_cast<uint32_t>(p0);
    c0 = n0;
    c2 = n2;
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  return {c0, c1, c2, c3};
}

// FNV-1a, 64 bit: stable keys from names (tensor names, model names).
inline uint64_t StableHash64(absl::string_view text, uint64_t seed = 0xcbf29ce484222325u) {
  uint64_t h = seed;
  for (unsigned char c : text) h = (h ^ c) * 0x100000001b3u;
  return h;
}

// A stream of draws from Philox, addressed by (key, stream). Copyable; its whole state is (key, stream, position).
class Rng {
 public:
  Rng(uint64_t key, uint64_t stream) : key_(key), stream_(stream) {}

  uint64_t key() const { return key_; }
  uint64_t stream() const { return stream_; }
  // Number of 64-bit draws made so far; SkipTo(position()) on an equal generator continues alike.
  uint64_t position() const { return position_; }
  void SkipTo(uint64_t position) { position_ = position; }

  uint64_t NextU64() {
    const auto w = Philox4x32(key_, position_ >> 1, stream_);
    const int i = (position_++ & 1) ? 2 : 0;
    return (uint64_t{w[i + 1]} << 32) | w[i];
  }
  // Uniform in [0, 1), 53 bits.
  double Uniform() { return static_cast<double>(NextU64() >> 11) * 0x1.0p-53; }
  // Standard normal by Box-Muller; two draws each, nothing cached, so the position alone is the state.
  double Normal() {
    const double u = 1.0 - Uniform();  // (0, 1]
    const double v = Uniform();
    return std::sqrt(-2.0 * std::log(u)) * std::cos(2.0 * std::numbers::pi * v);
  }

 private:
  uint64_t key_;
  uint64_t stream_;
  uint64_t position_ = 0;
};

}  // namespace merganser

#endif  // MERGANSER_COMMON_BASE_RNG_H_
