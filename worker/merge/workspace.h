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

  // Room for the ranks of a whole run of `sources` sources, which must be known before its blocks are merged.
  void MakeRoomForRanks(size_t sources);

  std::vector<float> floats;
  std::vector<float*> sources;
  float* base;
  float* merged;
  float* scratch;
  std::vector<uint32_t> words;
  std::vector<uint32_t> rank_values;
  std::vector<const uint32_t*> ranks;  // of the current block, per source
  RowRanks::Scratch rank_scratch;
  MagnitudeIndex::Scratch magnitude_scratch;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_WORKSPACE_H_
