// Random masks that do not depend on the order of evaluation: whether an element is kept follows
// from (mask seed, model name, tensor name, the element's row-major position) alone.
#ifndef MERGANSER_WORKER_MERGE_MASKS_H_
#define MERGANSER_WORKER_MERGE_MASKS_H_

#include <cstdint>

#include "absl/strings/string_view.h"

namespace merganser {

// One stream of uniform 32-bit words: word i is word i % 4 of Philox4x32-10 at counter (i / 4,
// counter_high) under key, with
//   key = splitmix64(mask_seed + 0x9e3779b97f4a7c15 * StableHash64(model)), counter_high =
//   StableHash64(tensor).
struct MaskStream {
  uint64_t key = 0;
  uint64_t counter_high = 0;

  static MaskStream For(uint64_t mask_seed, absl::string_view model, absl::string_view tensor);

  // words[j] = word first + j. REQUIRES: first % 4 == 0; `words` has room for `count` rounded up to
  // a multiple of kFillWords.
  static constexpr int kFillWords = 256;
  void Fill(int64_t first, int64_t count, uint32_t* words) const;

  // Bit j % 8 of bits[j / 8] = word first + j is at most `limit`. REQUIRES: first % 4 == 0; `bits` has room for `count`
  // rounded up to a multiple of kFillWords; those behind `count` are of no meaning.
  void FillBits(int64_t first, int64_t count, uint32_t limit, uint8_t* bits) const;
};

// Bernoulli(density): an element is kept if its word is at most limit.
struct MaskRule {
  enum class Kind { kAll, kNone, kSome };
  Kind kind = Kind::kAll;
  uint32_t limit = 0;  // kSome

  // Keeps floor(density * 2^32) of the 2^32 words. REQUIRES: 0 <= density <= 1.
  static MaskRule For(double density);
};

// Keeps an element of rank r (0: the smallest magnitude of its row) of a row of n with probability low + r * step: if the
// upper 24 bits of its word, as a fraction of 2^24, are below that in fp32.
struct RankedMask {
  MaskRule::Kind kind = MaskRule::Kind::kAll;
  float low = 0;
  float step = 0;
  bool rescale = false;  // divide what is kept by its probability

  // Probabilities from density - epsilon to density + epsilon (density for a row of one). All at density 1, none at 0.
  static RankedMask For(double density, double epsilon, int64_t row, bool rescale);
  // Never falls with the rank.
  float Probability(uint32_t rank) const { return low + static_cast<float>(rank) * step; }
  bool Keeps(uint32_t word, uint32_t rank) const {
    return static_cast<float>(static_cast<int32_t>(word >> 8)) * 0x1p-24f < Probability(rank);
  }
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_MASKS_H_
