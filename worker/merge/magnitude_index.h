// Finds, for any density, which elements of one task vector TIES keeps. Built once per tensor, base
// and source; it does not depend on the genome.
#ifndef MERGANSER_WORKER_MERGE_MAGNITUDE_INDEX_H_
#define MERGANSER_WORKER_MERGE_MAGNITUDE_INDEX_H_

#include <cstdint>
#include <vector>

#include "worker/merge/block_math.h"
#include "worker/merge/float_blocks.h"

namespace merganser {

// Ranks the elements of d = source - base (fp32) by magnitude, largest first, equal ones by index.
// Either keeps the whole order (4 bytes an element; a cut is one look-up) or a histogram of the
// magnitudes' upper 16 bits (at most 512 KiB; a cut reads the tensor once to rank within one bin,
// and up to its last kept element once more if elements are equal to the threshold). Immutable
// after Build*, any thread; both tensors must outlive it.
class MagnitudeIndex {
 public:
  // Needs 12 bytes an element while it runs. REQUIRES: equal counts below 2^32, finite values.
  static MagnitudeIndex BuildOrder(const FloatTensor& base, const FloatTensor& source);
  // REQUIRES: equal counts, finite values.
  static MagnitudeIndex BuildHistogram(const FloatTensor& base, const FloatTensor& source);

  // Bytes that BuildOrder keeps for `count` elements.
  static int64_t OrderBytes(int64_t count) { return 4 * count; }
  // Elements kept at `density` of `count`: all at 1, none at 0, else max(1, trunc(density * count))
  // as in mergekit.
  static int64_t KeptCount(double density, int64_t count);

  // Keeps the first `kept` elements of the ranking; kept in [0, count]. Allocates nothing:
  // `counters` (kCounters of them) is scratch.
  static constexpr int kCounters = 1 << 15;
  MagnitudeCut Cut(int64_t kept, uint64_t* counters) const;

 private:
  MagnitudeCut CutByHistogram(int64_t kept, uint64_t* counters) const;

  FloatTensor base_;
  FloatTensor source_;
  std::vector<uint32_t> order_;  // BuildOrder: indices, in the ranking's order
  int first_bin_ = 0;            // BuildHistogram: upper bits of the smallest magnitude
  std::vector<int64_t>
      at_or_above_;  // BuildHistogram: elements in bins >= first_bin_ + i; ends with a 0
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_MAGNITUDE_INDEX_H_
