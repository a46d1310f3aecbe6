// Python's random.Random, as far as few-shots need it: lm-evaluation-harness draws its examples with it, and scores can only be
// compared item by item if the examples are the same.
#ifndef MERGANSER_WORKER_BENCHMARK_PYTHON_RANDOM_H_
#define MERGANSER_WORKER_BENCHMARK_PYTHON_RANDOM_H_

#include <array>
#include <cstdint>
#include <vector>

namespace merganser {

// MT19937 (Matsumoto and Nishimura 1998) seeded as CPython seeds it with a whole number. Thread-compatible.
class PythonRandom {
 public:
  explicit PythonRandom(uint64_t seed);

  // sample(range(population), count): indices without repetition, in CPython's order. REQUIRES: count <= population < 2^32.
  std::vector<uint32_t> Sample(uint32_t population, uint32_t count);

 private:
  uint32_t Next();
  uint32_t Below(uint32_t bound);  // randrange(bound)

  std::array<uint32_t, 624> state_;
  int position_ = 624;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_BENCHMARK_PYTHON_RANDOM_H_
