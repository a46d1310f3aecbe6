// Python's random.Random and numpy's RandomState, as far as scores need them: lm-evaluation-harness draws its examples with
// the one, rouge_score its resamples with the other, and scores can only be compared item by item if these are the same.
#ifndef MERGANSER_WORKER_BENCHMARK_PYTHON_RANDOM_H_
#define MERGANSER_WORKER_BENCHMARK_PYTHON_RANDOM_H_

#include <array>
#include <cstdint>
#include <vector>

namespace merganser {

// MT19937 (Matsumoto and Nishimura 1998). Thread-compatible.
class MersenneTwister {
 public:
  explicit MersenneTwister(uint32_t seed);  // init_genrand
  uint32_t Next();

 protected:
  std::array<uint32_t, 624> state_;
  int position_ = 624;
};

// Seeded as CPython seeds it with a whole number. Thread-compatible.
class PythonRandom : private MersenneTwister {
 public:
  explicit PythonRandom(uint64_t seed);

  // sample(range(population), count): indices without repetition, in CPython's order. REQUIRES: count <= population < 2^32.
  std::vector<uint32_t> Sample(uint32_t population, uint32_t count);

  // What shuffle makes of range(count): the places that elements come from.
  std::vector<uint32_t> Shuffled(uint32_t count);

 private:
  uint32_t Below(uint32_t bound);  // randrange(bound)
};

// numpy.random.RandomState(seed), which numpy.random.seed(seed) makes the global one. Thread-compatible.
class NumpyRandom : private MersenneTwister {
 public:
  explicit NumpyRandom(uint32_t seed) : MersenneTwister(seed) {}

  // choice(range(bound)), or one element of choice(range(bound), size). REQUIRES: 0 < bound.
  uint32_t Choice(uint32_t bound);
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_BENCHMARK_PYTHON_RANDOM_H_
