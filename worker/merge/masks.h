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
};

// Bernoulli(density): an element is kept if its word is at most limit.
struct MaskRule {
  enum class Kind { kAll, kNone, kSome };
  Kind kind = Kind::kAll;
  uint32_t limit = 0;  // kSome

  // Keeps floor(density * 2^32) of the 2^32 words. REQUIRES: 0 <= density <= 1.
  static MaskRule For(double density);
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_MASKS_H_
