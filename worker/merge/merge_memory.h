// What the batches of one merge share: threads, and the memory of results that have been written.
#ifndef MERGANSER_WORKER_MERGE_MERGE_MEMORY_H_
#define MERGANSER_WORKER_MERGE_MERGE_MEMORY_H_

#include <memory>
#include <vector>

#include "worker/merge/arena.h"
#include "worker/merge/mergekit/torch_random.h"
#include "worker/merge/thread_pool.h"

namespace merganser {

// One user at a time (arenas may die on any thread, and later than this).
struct MergeMemory {
  explicit MergeMemory(int threads) : pool(threads) {}

  ThreadPool pool;
  const std::shared_ptr<ArenaPages> pages = std::make_shared<ArenaPages>();
  std::vector<TorchRandom> streams;  // RecipePlan::FillStreams; empty as long as no tensor wants them
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_MERGE_MEMORY_H_
