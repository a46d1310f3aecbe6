#include "tests/simulation/sim_store.h"

namespace merganser {

SimStore::SimStore(const Clock* clock) : clock_(clock), live_(std::make_unique<MemoryStore>(clock_)) {}

bool SimStore::FailOver() {
  const bool lost = replicated_ < synced_;
  Rebuild(replicated_);
  return lost;
}

void SimStore::Rebuild(size_t count) {
  writes_.resize(count);
  synced_ = replicated_ = count;
  live_ = std::make_unique<MemoryStore>(clock_);
  for (const Taken& write : writes_) {
    clock_.replay = write.at;
    write.apply(*live_);
  }
  clock_.replay.reset();
}

}  // namespace merganser
