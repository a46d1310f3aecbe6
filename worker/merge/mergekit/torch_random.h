// torch's stream of random numbers on the CPU, for merges that repeat mergekit's.
#ifndef MERGANSER_WORKER_MERGE_MERGEKIT_TORCH_RANDOM_H_
#define MERGANSER_WORKER_MERGE_MERGEKIT_TORCH_RANDOM_H_

#include <cstdint>
#include <random>

namespace merganser {

// The draws of torch.bernoulli(p) after torch.manual_seed(seed), for p in bf16, fp16 or fp32: one 32-bit word of mt19937
// each, whose lower 24 bits are a fraction.
class TorchRandom {
 public:
  // torch seeds its mt19937 with the lower half.
  explicit TorchRandom(uint64_t seed) : words_(static_cast<uint32_t>(seed)) {}

  // True with probability p.
  bool Bernoulli(float p) { return static_cast<float>(words_() & 0xffffffu) * 0x1p-24f < p; }
  // As if `count` draws had been made.
  void Skip(uint64_t count) { words_.discard(count); }

 private:
  std::mt19937 words_;  // of fixed definition in the standard, unlike its distributions
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_MERGEKIT_TORCH_RANDOM_H_
