#include "worker/engine/recorded_steps.h"

#include <algorithm>

#include "common/base/log.h"
#include "worker/engine/torch_status.h"

namespace merganser {

int64_t RowBucket(int64_t rows, int64_t most) {
  constexpr int64_t kSizes[] = {1, 2, 4, 8, 16, 32, 64, 96, 128, 192, 256, 384, 512};
  constexpr int64_t kStep = 256;
  const int64_t* size = std::lower_bound(std::begin(kSizes), std::end(kSizes), rows);
  return std::min(most, size != std::end(kSizes) ? *size : (rows + kStep - 1) / kStep * kStep);
}

int64_t KeyBucket(int64_t keys, int64_t most) {
  int64_t size = 256;
  while (size < keys) size *= 2;
  return std::min(most, size);
}

void RecordedSteps::Run(const StepKey& key, const std::function<void()>& step) {
  const auto found = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& entry) { return entry.key == key; });
  if (found != entries_.end()) {
    entries_.splice(entries_.begin(), entries_, found);
  } else {
    entries_.push_front({key});
    if (entries_.size() > kKept) entries_.pop_back();
  }
  Entry& entry = entries_.front();
  if (entry.graph == nullptr) {
    if (failed_ || ++entry.uses < kUses) return step();
    const absl::Status recorded = CatchTorch("recording a decode step", [&] { entry.graph = recorder_->Record(step); });
    if (!recorded.ok()) {
      failed_ = true;
      MG_LOG(WARNING) << "decode steps run without CUDA graphs from now on: rows=" << key.rows << " keys=" << key.keys
                      << " message=\"" << recorded.message() << "\"";
      return step();
    }
  }
  entry.graph->Replay();
}

}  // namespace merganser
