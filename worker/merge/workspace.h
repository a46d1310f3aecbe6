// Memory that one thread of a merge works in.
#ifndef MERGANSER_WORKER_MERGE_WORKSPACE_H_
#define MERGANSER_WORKER_MERGE_WORKSPACE_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "worker/merge/magnitude_index.h"
#include "worker/merge/merge_method.h"
#include "worker/merge/row_ranks.h"
#include "worker/merge/source_facts.h"

namespace merganser {

struct Workspace {
  // Room for blocks of `block` elements of `sources` sources.
  Workspace(size_t sources, int64_t block);

  // Room for the bits of ranked masks of a whole run of `sources` sources, which must be known before its blocks are merged.
  void MakeRoomForRanked(size_t sources);
  // Fills in source s's bits for elements [first, first + count), at most kRunElements, and if the mask rescales its ranks.
  // REQUIRES: MakeRoomForRanked(); term.ranked keeps some.
  void FillRanked(const RowRanks& ranks, const SourceTerm& term, int64_t first, int64_t count, size_t s);
  // Points kept and ranks to the block that begins `at` elements behind that `first`; at % 8 == 0.
  void PointToBlock(int64_t at);

  std::vector<float> floats;
  std::vector<float*> sources;
  float* base;
  float* merged;
  float* scratch;
  std::vector<uint32_t> words;
  std::vector<uint32_t> rank_values;
  std::vector<uint8_t> kept_bits;
  std::vector<const uint8_t*> kept;    // of the current block, per source
  std::vector<const uint32_t*> ranks;  // likewise
  RowRanks::Scratch rank_scratch;
  MagnitudeIndex::Scratch magnitude_scratch;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_WORKSPACE_H_
