#include "worker/merge/row_ranks.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>

#include "gtest/gtest.h"
#include "tests/worker/merge/merge_models.h"

namespace merganser {
namespace {

using testing_merge::Gaussian;
using testing_merge::Values;
using Ranks = std::vector<uint32_t>;

FloatTensor View(const Values& values) {
  return {DType::kF32, reinterpret_cast<const std::byte*>(values.data()), static_cast<int64_t>(values.size())};
}

// The upper half of each value's bits: bfloat16, rounded to zero.
std::vector<uint16_t> AsBF16(const Values& values) {
  std::vector<uint16_t> halves;
  for (const float value : values) halves.push_back(static_cast<uint16_t>(std::bit_cast<uint32_t>(value) >> 16));
  return halves;
}

FloatTensor View(const std::vector<uint16_t>& values) {
  return {DType::kBF16, reinterpret_cast<const std::byte*>(values.data()), static_cast<int64_t>(values.size())};
}

// The definition, over the elements start, start + step, ...
void RankByDefinition(const Values& d, int64_t start, int64_t step, int64_t row, Ranks& ranks) {
  std::vector<int64_t> order(row);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return std::fabs(d[start + a * step]) < std::fabs(d[start + b * step]); });
  for (int64_t i = 0; i < row; ++i) ranks[start + order[i] * step] = static_cast<uint32_t>(i);
}

Ranks FilledRanks(const RowRanks& ranks, int64_t first, int64_t count) {
  RowRanks::Scratch scratch;
  Ranks filled(count);
  ranks.Fill(first, count, scratch, filled.data());
  return filled;
}

struct Shape {
  std::string name;
  std::vector<int64_t> shape;
};

class RowRanksTest : public ::testing::TestWithParam<Shape> {};

TEST_P(RowRanksTest, KeptAndFreshRanksFollowTheDefinition) {
  const std::vector<int64_t>& shape = GetParam().shape;
  int64_t count = 1, inner = 1;
  for (const int64_t dim : shape) count *= dim;
  for (size_t d = 2; d < shape.size(); ++d) inner *= shape[d];
  const int64_t row = shape.size() < 2 ? count : shape[1];
  const Values base(count, 0.0f);
  Values source = Gaussian(count, 3);
  for (int64_t i = 0; i < count; i += 3) source[i] = i % 2 ? 0.5f : -0.5f;  // equal magnitudes
  Ranks want(count);
  for (int64_t r = 0; r < count / row; ++r) {
    RankByDefinition(source, r / inner * row * inner + r % inner, inner, row, want);
  }

  RowRanks ranks(View(base), View(source), shape);
  EXPECT_EQ(ranks.row(), row);
  const int64_t from = count / 3, part = count / 2;
  const Ranks want_part(want.begin() + from, want.begin() + from + part);
  EXPECT_EQ(FilledRanks(ranks, 0, count), want);
  EXPECT_EQ(FilledRanks(ranks, from, part), want_part);
  ranks.MakeRoom();
  RowRanks::Scratch scratch;
  ranks.Store(0, count / ranks.slab(), scratch);
  EXPECT_EQ(FilledRanks(ranks, 0, count), want);
  EXPECT_EQ(FilledRanks(ranks, from, part), want_part);
}

// What the mask keeps of elements [first, first + count), by their ranks and words.
std::vector<bool> KeptByDefinition(const RankedMask& mask, const MaskStream& stream, const Ranks& ranks, int64_t first,
                                   int64_t count) {
  std::vector<uint32_t> words(ranks.size() + MaskStream::kFillWords);
  stream.Fill(0, static_cast<int64_t>(ranks.size()), words.data());
  std::vector<bool> kept;
  for (int64_t i = first; i < first + count; ++i) kept.push_back(mask.Keeps(words[i], ranks[i]));
  return kept;
}

std::vector<bool> Kept(const RowRanks& ranks, const RankedMask& mask, const MaskStream& stream, int64_t first,
                       int64_t count) {
  RowRanks::Scratch scratch;
  std::vector<uint8_t> bits((count + MaskStream::kFillWords) / 8 + 1);
  ranks.FillKept(mask, stream, first, count, scratch, bits.data());
  std::vector<bool> kept;
  for (int64_t j = 0; j < count; ++j) kept.push_back(bits[j / 8] >> (j % 8) & 1);
  return kept;
}

TEST_P(RowRanksTest, BitsOfWhatStaysAreThoseOfTheRanks) {
  const std::vector<int64_t>& shape = GetParam().shape;
  int64_t count = 1;
  for (const int64_t dim : shape) count *= dim;
  const Values base(count, 0.0f);
  Values source = Gaussian(count, 5);
  for (int64_t i = 0; i < count; i += 3) source[i] = static_cast<float>(i % 7) * 0.125f;  // equal magnitudes
  RowRanks ranks(View(base), View(source), shape);
  const MaskStream stream = MaskStream::For(1, "model", "tensor");
  const RankedMask mask = RankedMask::For(0.5, 0.15, ranks.row(), false);
  const Ranks all = FilledRanks(ranks, 0, count);
  const int64_t from = count / 3 / 8 * 8, part = count / 2;
  EXPECT_EQ(Kept(ranks, mask, stream, 0, count), KeptByDefinition(mask, stream, all, 0, count));
  EXPECT_EQ(Kept(ranks, mask, stream, from, part), KeptByDefinition(mask, stream, all, from, part));
  ranks.MakeRoom();
  RowRanks::Scratch scratch;
  ranks.Store(0, count / ranks.slab(), scratch);
  EXPECT_EQ(Kept(ranks, mask, stream, from, part), KeptByDefinition(mask, stream, all, from, part));
}

// Rows that cannot be told apart by bins: all zero, two values, one element beyond all others, next to nothing, and ordinary
// ones.
TEST(RowRanksTest, BitsOfWhatStaysAreExactWhateverTheMagnitudes) {
  constexpr int64_t kRow = 2824, kRows = 6;  // no multiple of 16
  Values base(kRow * kRows, 0.0f);
  Values source = Gaussian(kRow * kRows, 9);
  for (int64_t i = 0; i < kRow; ++i) {
    source[i] = 0;
    source[kRow + i] = i % 5 == 0 ? -0.25f : 0.5f;
    source[2 * kRow + i] *= i == 1000 ? 1e30f : 1e-3f;
    source[3 * kRow + i] *= 1e-42f;
    source[4 * kRow + i] = std::round(source[4 * kRow + i] * 16);
  }
  const Values last_row = Gaussian(kRow, 11);
  std::copy(last_row.begin(), last_row.end(), base.begin() + 5 * kRow);
  const std::vector<uint16_t> short_base = AsBF16(base), short_source = AsBF16(source);
  const MaskStream stream = MaskStream::For(3, "model", "tensor");
  for (const RowRanks& ranks :
       {RowRanks(View(base), View(source), {kRows, kRow}), RowRanks(View(short_base), View(short_source), {kRows, kRow})}) {
    for (const double epsilon : {0.0, 0.01, 0.15, 0.49}) {
      const RankedMask mask = RankedMask::For(0.5, epsilon, kRow, false);
      EXPECT_EQ(Kept(ranks, mask, stream, 0, kRow * kRows),
                KeptByDefinition(mask, stream, FilledRanks(ranks, 0, kRow * kRows), 0, kRow * kRows))
          << epsilon;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, RowRanksTest,
                         ::testing::Values(Shape{"vector", {301}}, Shape{"matrix", {7, 53}}, Shape{"kernel", {3, 10, 2, 2}},
                                           Shape{"wide_rows", {3, 5000}}, Shape{"rows_of_eights", {9, 1024}},
                                           Shape{"short_rows_of_eights", {31, 8}}, Shape{"rows_beyond_16_bits", {2, 70'000}},
                                           Shape{"rows_of_one", {9, 1}}),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace merganser
