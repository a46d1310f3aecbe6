#include "worker/engine/slot_memory.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace merganser {
namespace {

using Tokens = std::vector<int32_t>;

TEST(SlotMemory, TheSlotThatHoldsMostOfAPromptIsFoundAndItsLastTokenIsLeft) {
  SlotMemory memory(4);
  memory.Extend(0, 0, Tokens{1, 2, 3});
  memory.Extend(1, 0, Tokens{1, 2, 9, 9, 9});
  memory.Extend(2, 0, Tokens{1, 2, 3, 4, 5});
  const auto best = [&](const Tokens& prompt) {
    const SlotMemory::Match match = memory.Best(prompt, /*scored=*/false, 0);
    return std::make_pair(match.slot, match.length);
  };
  EXPECT_EQ(best({1, 2, 3, 4, 7, 8}), std::make_pair(2, 4));
  EXPECT_EQ(best({1, 2, 3, 4, 5}), std::make_pair(2, 4));
  EXPECT_EQ(best({1, 2, 9, 5}), std::make_pair(1, 3));
  EXPECT_EQ(best({1, 2, 7}), std::make_pair(0, 2));
  EXPECT_EQ(best({2, 3}), std::make_pair(-1, 0));
  EXPECT_EQ(best({1}), std::make_pair(-1, 0));
}

TEST(SlotMemory, OfScoredPromptsThePositionsWithScoresCount) {
  SlotMemory memory(2);
  memory.Extend(0, 0, Tokens{1, 2, 3, 4});
  memory.Extend(1, 0, Tokens{1, 2, 3, 4});
  memory.AddScore(1, {-0.5, {}}, 1);
  memory.AddScore(1, {-0.25, {}}, 1);
  const auto length = [&](const Tokens& prompt, int alternatives) { return memory.Best(prompt, true, alternatives).length; };
  EXPECT_EQ(length({1, 2, 3, 4, 5}, 1), 2);  // scored are the tokens 2 and 3
  EXPECT_EQ(length({1, 2, 9}, 1), 1);        // position 1 scored the token 3, not 9
  EXPECT_EQ(length({1, 2, 3, 4, 5}, 2), 0);  // with fewer alternatives than are wanted
}

TEST(SlotMemory, NoSlotHoldsMoreThanTheOneThatIsFound) {
  std::mt19937 random(1);
  const auto tokens = [&] {
    Tokens made(1 + random() % 12);
    for (int32_t& token : made) token = static_cast<int32_t>(random() % 2);
    return made;
  };
  for (int round = 0; round < 200; ++round) {
    SlotMemory memory(5);
    std::vector<Tokens> held;
    for (int slot = 0; slot < 5; ++slot) memory.Extend(slot, 0, held.emplace_back(tokens()));
    const Tokens prompt = tokens();
    int most = 0;
    for (const Tokens& slot : held) {
      const size_t longest = std::min(slot.size(), prompt.size() - 1);
      most = std::max(most, static_cast<int>(std::mismatch(prompt.begin(), prompt.begin() + longest, slot.begin()).first -
                                             prompt.begin()));
    }
    EXPECT_EQ(memory.Best(prompt, false, 0).length, most) << round;
  }
}

}  // namespace
}  // namespace merganser
