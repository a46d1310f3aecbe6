// Ranks the elements of a task vector within their row by magnitude: what DELLA's probabilities follow. Ranks do not depend on
// the genome.
#ifndef MERGANSER_WORKER_MERGE_ROW_RANKS_H_
#define MERGANSER_WORKER_MERGE_ROW_RANKS_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "worker/merge/float_blocks.h"

namespace merganser {

// Ranks of d = source - base (fp32) in ascending order of magnitude from 0 on, equal ones by index. A row runs along dimension
// 1; a tensor of one dimension is one row. Ranks are sorted out anew at each call, or kept once Store() has been called. Both
// tensors must outlive it.
class RowRanks {
 public:
  struct Scratch {
    std::vector<float> base, source;
    std::vector<uint64_t> from, to;
    std::vector<uint32_t> ranks;
  };

  RowRanks() = default;
  // REQUIRES: equal counts below 2^32, `shape` is that of both, finite values.
  RowRanks(const FloatTensor& base, const FloatTensor& source, absl::Span<const int64_t> shape);

  // Elements of one row.
  int64_t row() const { return row_; }
  // Elements that can only be ranked together: a row, or the rows that lie interleaved.
  int64_t slab() const { return slab_; }
  int64_t elements() const { return base_.count; }

  // Makes room for ranks; bytes that this takes.
  int64_t StoredBytes() const { return (row_ <= 65536 ? 2 : 4) * base_.count; }
  void MakeRoom();
  // Sorts slabs [first, first + count) and keeps their ranks. Calls for different slabs may run at once. REQUIRES: MakeRoom().
  void Store(int64_t first_slab, int64_t count, Scratch& scratch);

  // ranks[i] = rank of element first + i. Any thread.
  void Fill(int64_t first, int64_t count, Scratch& scratch, uint32_t* ranks) const;

 private:
  // scratch.ranks = ranks of the slab's elements.
  void Rank(int64_t slab, Scratch& scratch) const;

  FloatTensor base_;
  FloatTensor source_;
  int64_t row_ = 0;
  int64_t slab_ = 0;
  std::vector<uint16_t> short_;  // kept ranks, rows of at most 65536
  std::vector<uint32_t> long_;   // ... of longer rows
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_ROW_RANKS_H_
