// Ranks the elements of a task vector within their row by magnitude: what DELLA's probabilities follow. Ranks do not depend
// on the genome.
#ifndef MERGANSER_WORKER_MERGE_ROW_RANKS_H_
#define MERGANSER_WORKER_MERGE_ROW_RANKS_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "worker/merge/float_blocks.h"
#include "worker/merge/masks.h"
#include "worker/merge/row_bins.h"

namespace merganser {

// Ranks of d = source - base (fp32) in ascending order of magnitude from 0 on, equal ones by index. A row runs along
// dimension 1; a tensor of one dimension is one row. Ranks are sorted out anew at each call, or kept once Store() has been
// called. Both tensors must outlive it.
class RowRanks {
 public:
  struct Scratch {
    std::vector<float> differences;
    std::vector<uint64_t> from, to;
    std::vector<uint32_t> ranks, counts, words;
    RowBins bins;
    std::vector<uint8_t> maybe;
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
  // Sorts slabs [first, first + count) and keeps their ranks. Calls for different slabs may run at once. REQUIRES:
  // MakeRoom().
  void Store(int64_t first_slab, int64_t count, Scratch& scratch);

  // ranks[i] = rank of element first + i. Any thread.
  void Fill(int64_t first, int64_t count, Scratch& scratch, uint32_t* ranks) const;

  // Bit j % 8 of bits[j / 8]: whether `mask` keeps element first + j by its rank and its word of `stream`. Most words decide
  // alone, or with a rough rank, so this takes a fraction of the time of Fill where ranks are not kept. Any thread.
  // REQUIRES: first % 8 == 0; `bits` has room for `count` rounded up to a multiple of MaskStream::kFillWords, those behind
  // `count` are of no meaning.
  void FillKept(const RankedMask& mask, const MaskStream& stream, int64_t first, int64_t count, Scratch& scratch,
                uint8_t* bits) const;

 private:
  // FillKept of elements [first, first + count) of one row, by counting the row's magnitudes in bins. False, and nothing
  // done, if too many are equal for that.
  bool FillKeptOfRow(const RankedMask& mask, const MaskStream& stream, int64_t first, int64_t count, Scratch& scratch,
                     uint8_t* bits) const;
  // scratch.ranks = ranks of the slab's elements.
  void Rank(int64_t slab, Scratch& scratch) const;

  FloatTensor base_;
  FloatTensor source_;
  int64_t row_ = 0;
  int64_t slab_ = 0;
  std::vector<uint16_t> short_;  // kept ranks, rows of at most 65536
  std::vector<uint32_t> long_;   // ... of longer rows
};

// RowRanks::FillKept by known ranks: ranks[j] is that of element first + j. `words` has room for kKeptPiece.
inline constexpr int64_t kKeptPiece = 1024;
void FillKeptByRank(const RankedMask& mask, const MaskStream& stream, const uint32_t* ranks, int64_t first, int64_t count,
                    uint32_t* words, uint8_t* bits);

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_ROW_RANKS_H_
