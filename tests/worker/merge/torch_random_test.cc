#include "worker/merge/mergekit/torch_random.h"

#include <string>

#include "gtest/gtest.h"

namespace merganser {
namespace {

std::string Draws(TorchRandom random, float probability, int count) {
  std::string draws;
  for (int i = 0; i < count; ++i) draws += random.Bernoulli(probability) ? '1' : '0';
  return draws;
}

// torch.manual_seed(3); torch.bernoulli(torch.full((40,), 0.3)), torch 2.11.
constexpr char kTorch[] = "1111010000001010100001011110111011110110";

TEST(TorchRandomTest, DrawsWhatTorchDraws) { EXPECT_EQ(Draws(TorchRandom(3), 0.3f, 40), kTorch); }

TEST(TorchRandomTest, OnlyTheLowerHalfOfASeedCounts) {
  EXPECT_EQ(Draws(TorchRandom((uint64_t{1} << 40) + 3), 0.3f, 40), kTorch);
}

TEST(TorchRandomTest, SkippedDrawsAreThoseThatWereNotLookedAt) {
  TorchRandom random(3);
  random.Skip(25);
  EXPECT_EQ(Draws(random, 0.3f, 15), std::string(kTorch).substr(25));
}

}  // namespace
}  // namespace merganser
