// What the slots of the key-value cache hold, so that a request can go on from what an earlier one computed.
#ifndef MERGANSER_WORKER_ENGINE_SLOT_MEMORY_H_
#define MERGANSER_WORKER_ENGINE_SLOT_MEMORY_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "worker/engine/generator.h"

namespace merganser {

// Thread-compatible.
class SlotMemory {
 public:
  explicit SlotMemory(int slots) : slots_(slots) {}

  struct Match {
    int slot = -1;
    int length = 0;  // positions from the beginning that can be used; 0: none
  };
  // The slot that saves most of `prompt`; at least the prompt's last token is left. With `scored` only positions whose
  // scores with `alternatives` are known count.
  Match Best(absl::Span<const int32_t> prompt, bool scored, int alternatives) const;

  int Length(int slot) const { return static_cast<int>(slots_[slot].tokens.size()); }
  // Keeps the first `length` positions and `scores` scores.
  void Truncate(int slot, int length, int scores);
  // `to` holds the first `length` positions and `scores` scores of `from`, and nothing else.
  void Copy(int from, int to, int length, int scores);
  // `tokens` now stand behind the first `past` positions.
  void Extend(int slot, int past, absl::Span<const int32_t> tokens);
  // The score of the token after the last that has one, with `alternatives`.
  void AddScore(int slot, Generation::Position score, int alternatives);
  // The scores of the tokens 1 .. count, with `alternatives` of each. REQUIRES: they were added.
  std::vector<Generation::Position> Scores(int slot, int count, int alternatives) const;

 private:
  struct Slot {
    std::vector<int32_t> tokens;
    std::vector<Generation::Position> scores;  // [i] is of the token at i + 1
    int alternatives = 0;                      // that each of them has
  };
  std::vector<Slot> slots_;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_ENGINE_SLOT_MEMORY_H_
