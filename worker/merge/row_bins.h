// The magnitudes of one row counted in bins: what each element's rank is at least and at most. Nearly every random word then
// decides without an exact rank.
#ifndef MERGANSER_WORKER_MERGE_ROW_BINS_H_
#define MERGANSER_WORKER_MERGE_ROW_BINS_H_

#include <cstdint>
#include <vector>

#include "worker/merge/float_blocks.h"
#include "worker/merge/masks.h"

namespace merganser {

// Reusable: one thread's, row after row.
class RowBins {
 public:
  // Counts d = source - base (fp32) of elements [begin, begin + row). False if too many of them are equal, or if one is not
  // finite: then the others may not be called. REQUIRES: row % 8 == 0, row <= 65536; mask keeps some.
  bool Count(const FloatTensor& base, const FloatTensor& source, int64_t begin, int64_t row, const RankedMask& mask);

  // For element first + j of the row, j < count: bit j % 8 of kept[j / 8] says that `mask` keeps it by words[j] whatever its
  // rank in its bin, that of maybe[j / 8] that it does with the highest. REQUIRES: first % 8 == 0; words and bits as
  // MaskStream::Fill's and FillBits'; what is behind `count` is of no meaning.
  void Decide(const uint32_t* words, int64_t first, int64_t count, uint8_t* kept, uint8_t* maybe) const;

  // The rank of an element: equal ones by index.
  uint32_t Rank(int64_t element) const;

 private:
  int64_t row_ = 0;
  int64_t size_ = 0;                  // bins
  bool permuted_ = false;             // so few that they are bytes, and their bounds in registers
  std::vector<float> differences_;    // where they are not merged as stored
  std::vector<uint32_t> magnitudes_;  // bits of |d|, then some beyond all
  std::vector<uint16_t> bins_;        // never fall with the magnitude
  std::vector<uint8_t> byte_bins_;    // instead, if permuted_
  std::vector<uint32_t> counts_;
  // Of the upper half of a random word: below the lower 16 bits, the bin's lowest rank is enough; above the upper 16, its
  // highest is not. What empty bins hold means nothing.
  std::vector<uint32_t> bounds_;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_ROW_BINS_H_
