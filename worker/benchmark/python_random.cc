#include "worker/benchmark/python_random.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

namespace merganser {

MersenneTwister::MersenneTwister(uint32_t seed) {
  state_[0] = seed;
  for (uint32_t i = 1; i < 624; ++i) state_[i] = 1812433253u * (state_[i - 1] ^ (state_[i - 1] >> 30)) + i;
}

PythonRandom::PythonRandom(uint64_t seed) : MersenneTwister(19650218) {
  // init_by_array of the seed's 32-bit words.
  std::vector<uint32_t> key = {static_cast<uint32_t>(seed)};
  if (seed >> 32 != 0) key.push_back(static_cast<uint32_t>(seed >> 32));
  uint32_t i = 1, j = 0;
  const auto advance = [&] {
    if (++i < 624) return;
    state_[0] = state_[623];
    i = 1;
  };
  for (size_t k = std::max<size_t>(624, key.size()); k > 0; --k) {
    state_[i] = (state_[i] ^ ((state_[i - 1] ^ (state_[i - 1] >> 30)) * 1664525u)) + key[j] + j;
    advance();
    if (++j >= key.size()) j = 0;
  }
  for (int k = 623; k > 0; --k) {
    state_[i] = (state_[i] ^ ((state_[i - 1] ^ (state_[i - 1] >> 30)) * 1566083941u)) - i;
    advance();
  }
  state_[0] = 0x80000000u;
}

uint32_t MersenneTwister::Next() {
  if (position_ == 624) {
    for (int k = 0; k < 624; ++k) {
      const uint32_t y = (state_[k] & 0x80000000u) | (state_[(k + 1) % 624] & 0x7fffffffu);
      state_[k] = state_[(k + 397) % 624] ^ (y >> 1) ^ ((y & 1) != 0 ? 0x9908b0dfu : 0);
    }
    position_ = 0;
  }
  uint32_t y = state_[position_++];
  y ^= y >> 11;
  y ^= (y << 7) & 0x9d2c5680u;
  y ^= (y << 15) & 0xefc60000u;
  return y ^ (y >> 18);
}

uint32_t PythonRandom::Below(uint32_t bound) {
  int bits = 0;
  while (bits < 32 && (bound >> bits) != 0) ++bits;
  uint32_t r;
  do {
    r = Next() >> (32 - bits);
  } while (r >= bound);
  return r;
}

std::vector<uint32_t> PythonRandom::Sample(uint32_t population, uint32_t count) {
  // CPython draws from a list or remembers what it drew, whichever it takes to need less memory.
  double set_size = 21;
  if (count > 5) set_size += std::pow(4, std::ceil(std::log(count * 3.0) / std::log(4.0)));
  std::vector<uint32_t> drawn;
  if (population <= set_size) {
    std::vector<uint32_t> pool(population);
    for (uint32_t i = 0; i < population; ++i) pool[i] = i;
    for (uint32_t i = 0; i < count; ++i) {
      const uint32_t j = Below(population - i);
      drawn.push_back(pool[j]);
      pool[j] = pool[population - i - 1];
    }
    return drawn;
  }
  std::set<uint32_t> seen;
  while (drawn.size() < count) {
    const uint32_t j = Below(population);
    if (seen.insert(j).second) drawn.push_back(j);
  }
  return drawn;
}

std::vector<uint32_t> PythonRandom::Shuffled(uint32_t count) {
  std::vector<uint32_t> places(count);
  for (uint32_t i = 0; i < count; ++i) places[i] = i;
  for (uint32_t i = count; i-- > 1;) std::swap(places[i], places[Below(i + 1)]);
  return places;
}

uint32_t NumpyRandom::Choice(uint32_t bound) {
  if (bound == 1) return 0;  // without a draw
  uint32_t mask = bound - 1;
  for (int shift = 1; shift < 32; shift *= 2) mask |= mask >> shift;
  uint32_t r;
  do {
    r = Next() & mask;
  } while (r >= bound);
  return r;
}

}  // namespace merganser
