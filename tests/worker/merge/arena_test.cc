#include "worker/merge/arena.h"

#include <cstring>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace merganser {
namespace {

using ::testing::HasSubstr;

ArenaLayout Layout(std::vector<ArenaTensor> tensors) {
  auto layout = ArenaLayout::Create(std::move(tensors));
  EXPECT_TRUE(layout.ok()) << layout.status();
  return *std::move(layout);
}

TEST(ArenaLayoutTest, NeighboursOfWholeCacheLinesLieWithoutAGap) {
  const ArenaLayout layout = Layout({{"q", {64, 32}}, {"k", {32, 32}}, {"v", {32, 32}}, {"norm", {3}}, {"end", {1}}});
  EXPECT_EQ(layout.offset(1), layout.offset(0) + 64 * 32 * 2);
  EXPECT_EQ(layout.offset(2), layout.offset(1) + 32 * 32 * 2);
  EXPECT_EQ(layout.offset(4) % 64, 0);
  EXPECT_EQ(layout.offset(4), layout.offset(3) + 64);
  EXPECT_EQ(layout.IndexOf("v"), 2);
  EXPECT_EQ(layout.IndexOf("w"), -1);
}

struct Refusal {
  std::string name;
  std::vector<ArenaTensor> tensors;
  std::string message;
};

class ArenaLayoutRefusalTest : public ::testing::TestWithParam<Refusal> {};

TEST_P(ArenaLayoutRefusalTest, SaysWhatIsWrong) {
  const auto layout = ArenaLayout::Create(GetParam().tensors);
  EXPECT_EQ(layout.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(layout.status().message()), HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    All, ArenaLayoutRefusalTest,
    ::testing::Values(Refusal{"empty", {}, "no tensors"}, Refusal{"twice", {{"a", {1}}, {"a", {2}}}, "'a' is listed twice"},
                      Refusal{"integer", {{"a", {1}, DType::kI32}}, "'a' has type I32"},
                      Refusal{"negative", {{"a", {-1}}}, "no valid shape [-1]"},
                      Refusal{"overflow", {{"a", {int64_t{1} << 40, int64_t{1} << 40}}}, "no valid shape"}),
    [](const auto& info) { return info.param.name; });

TEST(ArenaTest, HugeRequestIsResourceExhausted) {
  const auto arena = Arena::Create(Layout({{"a", {int64_t{1} << 54}}}));
  EXPECT_EQ(arena.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(arena.status().message()), HasSubstr("36028797018963968 bytes"));
}

TEST(ArenaTest, FindGivesAlignedZeroedMemory) {
  auto arena = Arena::Create(Layout({{"a", {3}}, {"b", {2, 2}, DType::kF32}}));
  ASSERT_TRUE(arena.ok());
  const Arena::View b = (*arena)->Find("b");
  EXPECT_EQ(b.dtype, DType::kF32);
  EXPECT_EQ(*b.shape, (std::vector<int64_t>{2, 2}));
  EXPECT_EQ(reinterpret_cast<uintptr_t>(b.data) % 64, 0u);
  EXPECT_EQ(b.data[0], std::byte{0});
  EXPECT_EQ((*arena)->Find("c").data, nullptr);
}

TEST(WeightsSha256Test, DependsOnEveryByteButNotOnTheOrder) {
  auto one = Arena::Create(Layout({{"a", {3}}, {"b", {40}}}));
  auto two = Arena::Create(Layout({{"b", {40}}, {"a", {3}}}));
  for (Arena* arena : {one->get(), two->get()}) {
    std::memset(arena->Find("a").data, 7, 6);
    std::memset(arena->Find("b").data, 9, 80);
  }
  EXPECT_EQ(WeightsSha256(**one), WeightsSha256(**two));
  (*two)->Find("b").data[79] = std::byte{8};
  EXPECT_NE(WeightsSha256(**one), WeightsSha256(**two));
}

TEST(ArenaTest, LentPagesComeBackAndAreUsedAgain) {
  const auto pages = std::make_shared<ArenaPages>();
  const ArenaLayout small = *ArenaLayout::Create({{"a", {1000}, DType::kBF16}});
  const ArenaLayout large = *ArenaLayout::Create({{"a", {int64_t{8} << 20}, DType::kBF16}});
  auto first = *Arena::Create(small, pages), second = *Arena::Create(small, pages);
  const std::byte* place = first->data(0);
  EXPECT_NE(second->data(0), place);
  first.reset();
  first = *Arena::Create(small, pages);
  EXPECT_EQ(first->data(0), place);
  first.reset();
  auto third = *Arena::Create(large, pages);  // nothing fits
  third->data(0)[(16 << 20) - 1] = std::byte{1};
  third.reset();
  EXPECT_NE((*Arena::Create(small, pages))->data(0), nullptr);  // in the larger pages
}

}  // namespace
}  // namespace merganser
