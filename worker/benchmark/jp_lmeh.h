// How JP-LMEH's evaluator (Stability-AI/lm-evaluation-harness, branch jp-stable) arranges a task: which examples stand
// before which sample, and how an article is shortened. Held to that code by tests/golden/jp_lmeh_goldens.py.
#ifndef MERGANSER_WORKER_BENCHMARK_JP_LMEH_H_
#define MERGANSER_WORKER_BENCHMARK_JP_LMEH_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/benchmark/model_text.h"
#include "worker/benchmark/python_random.h"
#include "worker/benchmark/settings.h"

namespace merganser {

// The seed (unless few_shot has one) of a task's generator, which shuffles its samples, then draws the examples of each.
inline constexpr uint64_t kJpLmehSeed = 42;

// Examples of the same target.
class ExampleStrata {
 public:
  // `targets[i]` is that of the i-th example.
  explicit ExampleStrata(const std::vector<std::string>& targets);

  // `count` places of examples, each target in its share: rounded down, the rest to the targets that have fewest; shuffled.
  // InvalidArgument: a target has fewer examples than its share.
  absl::StatusOr<std::vector<size_t>> Draw(int count, PythonRandom& random) const;

 private:
  std::vector<std::vector<size_t>> places_;  // of each target's examples; targets as they first come up
  size_t size_ = 0;
};

// `prompt` with every article in it, the examples' too, cut behind a sentence ("。") so that none is longer than its share
// of `room` tokens; the prompt itself if it is no longer than `room`. InvalidArgument: an article has one of the texts that
// stand around articles in it.
absl::StatusOr<std::string> WithShorterArticles(const std::string& prompt, const JpLmehSettings& settings, int64_t room,
                                                const ModelText& model);

}  // namespace merganser

#endif  // MERGANSER_WORKER_BENCHMARK_JP_LMEH_H_
