#include "worker/merge/row_ranks.h"

#include <algorithm>
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

// The definition, over the elements start, start + step, ...
void RankByDefinition(const Values& d, int64_t start, int64_t step, int64_t row, Ranks& ranks) {
  std::vector<int64_t> order(row);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return std::fabs(d[start + a * step]) < std::fabs(d[start + b * step]);
  });
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

INSTANTIATE_TEST_SUITE_P(Shapes, RowRanksTest,
                         ::testing::Values(Shape{"vector", {301}}, Shape{"matrix", {7, 53}}, Shape{"kernel", {3, 10, 2, 2}},
                                           Shape{"wide_rows", {3, 5000}}, Shape{"rows_beyond_16_bits", {2, 70'000}},
                                           Shape{"rows_of_one", {9, 1}}),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace merganser
