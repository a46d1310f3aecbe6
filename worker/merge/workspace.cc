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

void Workspace::MakeRoomForRanked(size_t source_count) {
  if (kept_bits.size() < source_count * kRunElements / 8) kept_bits.resize(source_count * kRunElements / 8);
  kept.resize(source_count);
  ranks.resize(source_count);
}

void Workspace::FillRanked(const RowRanks& rows, const SourceTerm& term, int64_t first, int64_t count, size_t s) {
  uint8_t* bits = kept_bits.data() + s * kRunElements / 8;
  if (!term.ranked.rescale) return rows.FillKept(term.ranked, term.mask, first, count, rank_scratch, bits);
  if (rank_values.size() < kept.size() * kRunElements) rank_values.resize(kept.size() * kRunElements);
  uint32_t* values = rank_values.data() + s * kRunElements;
  rows.Fill(first, count, rank_scratch, values);
  rank_scratch.words.resize(kKeptPiece);
  FillKeptByRank(term.ranked, term.mask, values, first, count, rank_scratch.words.data(), bits);
}

void Workspace::PointToBlock(int64_t at) {
  for (size_t s = 0; s < kept.size(); ++s) {
    kept[s] = kept_bits.data() + (static_cast<int64_t>(s) * kRunElements + at) / 8;
    ranks[s] = rank_values.size() < kept.size() * kRunElements
                   ? nullptr
                   : rank_values.data() + static_cast<int64_t>(s) * kRunElements + at;
  }
}

}  // namespace merganser
