// Which steps are recorded, and for how long they are kept.
#ifndef MERGANSER_WORKER_ENGINE_RECORDED_STEPS_H_
#define MERGANSER_WORKER_ENGINE_RECORDED_STEPS_H_

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <vector>

#include "worker/engine/step_graph.h"

namespace merganser {

// What a recorded step is for. Equal keys: the same work on the same memory.
struct StepKey {
  std::vector<uint64_t> model;  // addresses and numbers of the weights in their order (AtenModel::Identity)
  int64_t rows = 0;
  int64_t keys = 0;  // bound on the positions that a row sees

  bool operator==(const StepKey&) const = default;
};

// Sizes that decode steps are padded to, of at most `most`: 1, 2, 4, 8, 16, 32, 64, 96, 128, 192, 256, 384, 512, and from
// there in steps of 256. REQUIRES: 1 <= rows <= most.
int64_t RowBucket(int64_t rows, int64_t most);
// 256, 512, 1024 and so on, at most `most`. REQUIRES: 1 <= keys <= most.
int64_t KeyBucket(int64_t keys, int64_t most);

// Thread-compatible.
class RecordedSteps {
 public:
  // A recording costs several runs, so that a key is recorded only when it comes for the kUses-th time; of the keys that
  // came last kKept are remembered, with their graphs. (A search over paths makes new keys with each candidate.)
  static constexpr int kUses = 8;
  static constexpr int kKept = 64;

  explicit RecordedSteps(std::unique_ptr<StepRecorder> recorder) : recorder_(std::move(recorder)) {}

  // Runs `step`, recorded or not; what it computes is the same. Where a recording fails, one warning says why, and nothing
  // is recorded from then on. Throws what the step throws.
  void Run(const StepKey& key, const std::function<void()>& step);

 private:
  struct Entry {
    StepKey key;
    int uses = 0;
    std::unique_ptr<StepGraph> graph;
  };

  const std::unique_ptr<StepRecorder> recorder_;
  std::list<Entry> entries_;  // last used first
  bool failed_ = false;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_ENGINE_RECORDED_STEPS_H_
