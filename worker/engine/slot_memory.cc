#include "worker/engine/slot_memory.h"

#include <algorithm>
#include <utility>

namespace merganser {

SlotMemory::Match SlotMemory::Best(absl::Span<const int32_t> prompt, bool scored, int alternatives) const {
  Match best;
  for (size_t i = 0; i < slots_.size(); ++i) {
    const Slot& slot = slots_[i];
    const size_t longest = std::min(slot.tokens.size(), prompt.size());
    // Better than the best holds the token behind the best's, too: that tells most slots without a look at what all share.
    const size_t next = best.length;
    if (next + 1 >= prompt.size() || next >= longest || slot.tokens[next] != prompt[next]) continue;
    size_t length = std::mismatch(prompt.begin(), prompt.begin() + longest, slot.tokens.begin()).first - prompt.begin();
    if (scored) {
      // The position before the first that differs scored another token than ours.
      length = slot.alternatives < alternatives ? 0 : std::min(length == 0 ? 0 : length - 1, slot.scores.size());
    }
    length = std::min(length, prompt.size() - 1);
    if (static_cast<int>(length) > best.length) best = {static_cast<int>(i), static_cast<int>(length)};
  }
  return best;
}

void SlotMemory::Truncate(int slot, int length, int scores) {
  Slot& s = slots_[slot];
  s.tokens.resize(std::min<size_t>(s.tokens.size(), length));
  s.scores.resize(std::min<size_t>(s.scores.size(), scores));
}

void SlotMemory::Copy(int from, int to, int length, int scores) {
  const Slot& source = slots_[from];
  Slot copy;
  copy.tokens.assign(source.tokens.begin(), source.tokens.begin() + length);
  copy.scores.assign(source.scores.begin(), source.scores.begin() + std::min<size_t>(source.scores.size(), scores));
  copy.alternatives = source.alternatives;
  slots_[to] = std::move(copy);
}

void SlotMemory::Extend(int slot, int past, absl::Span<const int32_t> tokens) {
  std::vector<int32_t>& held = slots_[slot].tokens;
  held.resize(past);
  held.insert(held.end(), tokens.begin(), tokens.end());
}

void SlotMemory::AddScore(int slot, Generation::Position score, int alternatives) {
  Slot& s = slots_[slot];
  s.alternatives = s.scores.empty() ? alternatives : std::min(s.alternatives, alternatives);
  s.scores.push_back(std::move(score));
}

std::vector<Generation::Position> SlotMemory::Scores(int slot, int count, int alternatives) const {
  const std::vector<Generation::Position>& held = slots_[slot].scores;
  std::vector<Generation::Position> scores(held.begin(), held.begin() + count);
  for (Generation::Position& score : scores) {
    if (score.best.size() > static_cast<size_t>(alternatives)) score.best.resize(alternatives);
  }
  return scores;
}

}  // namespace merganser
