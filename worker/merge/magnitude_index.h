// Finds, for any density, which elements of one task vector TIES keeps. Built once per tensor, base
// and source; it does not depend on the genome.
#ifndef MERGANSER_WORKER_MERGE_MAGNITUDE_INDEX_H_
#define MERGANSER_WORKER_MERGE_MAGNITUDE_INDEX_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "worker/merge/block_math.h"
#include "worker/merge/float_blocks.h"

namespace merganser {

// Ranks values by magnitude, largest first, equal ones by index: those of d = source - base (fp32), or any others that can
// be loaded again and again. Either keeps the whole order (4 bytes an element; a cut is one look-up) or a histogram of the
// magnitudes' upper 16 bits (at most 512 KiB; a cut reads the values once to rank within one bin, and once more where that
// bin holds very many). Immutable after Build*, any thread; the tensors must outlive it.
class MagnitudeIndex {
 public:
  static constexpr int64_t kBlock = 4096;
  // out[i] = value first + i, for up to kBlock values. Called from any thread.
  using Load = std::function<void(int64_t first, int64_t count, float* out)>;
  struct Scratch {
    std::vector<uint64_t> entries;
  };

  // Needs 12 bytes an element while it runs. REQUIRES: counts (equal ones) below 2^32, finite values.
  static MagnitudeIndex BuildOrder(int64_t count, Load load);
  static MagnitudeIndex BuildOrder(const FloatTensor& base, const FloatTensor& source);
  // REQUIRES: finite values.
  static MagnitudeIndex BuildHistogram(int64_t count, Load load);
  static MagnitudeIndex BuildHistogram(const FloatTensor& base, const FloatTensor& source);

  // Bytes that BuildOrder keeps for `count` elements.
  static int64_t OrderBytes(int64_t count) { return 4 * count; }
  // Elements kept at `density` of `count`: all at 1, none at 0, else max(1, trunc(density * count)) as in mergekit.
  static int64_t KeptCount(double density, int64_t count);

  int64_t count() const { return count_; }
  // Values that are not 0.
  int64_t nonzero() const { return nonzero_; }
  // Keeps the first `kept` elements of the ranking; kept in [0, count].
  MagnitudeCut Cut(int64_t kept, Scratch& scratch) const;
  // Bits of the magnitude of the last of the first `kept` elements; kept in [1, count].
  uint32_t ValueOf(int64_t kept, Scratch& scratch) const;

 private:
  // `exact`: the threshold is to be the last kept element's own magnitude, not only one that keeps the same elements.
  MagnitudeCut CutByHistogram(int64_t kept, bool exact, Scratch& scratch) const;
  uint32_t MagnitudeAt(int64_t i) const;

  Load load_;
  int64_t count_ = 0;
  int64_t nonzero_ = 0;
  std::vector<uint32_t> order_;       // BuildOrder: indices, in the ranking's order
  int first_bin_ = 0;                 // BuildHistogram: upper bits of the smallest magnitude
  std::vector<int64_t> at_or_above_;  // BuildHistogram: elements in bins >= first_bin_ + i; ends with a 0
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_MAGNITUDE_INDEX_H_
