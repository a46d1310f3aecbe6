#include "worker/merge/workspace.h"

#include <algorithm>

namespace merganser {

Workspace::Workspace(size_t source_count, int64_t block) {
  // 16 values more than a block each, so that blocks do not all start on the same cache set.
  const int64_t stride = block + 16;
  floats.resize((source_count + 3) * stride);
  for (size_t s = 0; s < source_count; ++s) sources.push_back(floats.data() + s * stride);
  base = floats.data() + source_count * stride;
  merged = base + stride;
  scratch = merged + stride;
  words.resize(std::max<int64_t>(block, MaskStream::kFillWords));
}

void Workspace::MakeRoomForRanks(size_t source_count) {
  if (rank_values.size() < source_count * kRunElements) rank_values.resize(source_count * kRunElements);
  ranks.resize(source_count);
}

}  // namespace merganser
