#include "worker/merge/magnitude_index.h"

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

FloatTensor View(const Values& values) {
  return {DType::kF32, reinterpret_cast<const std::byte*>(values.data()), static_cast<int64_t>(values.size())};
}

// The definition: sort by magnitude, stably, and keep the first `kept`.
Values TrimBySorting(const Values& d, int64_t kept) {
  std::vector<int> order(d.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return std::fabs(d[a]) > std::fabs(d[b]); });
  Values out(d.size());
  for (int64_t i = 0; i < kept; ++i) out[order[i]] = d[order[i]];
  return out;
}

void ExpectCutsLikeSorting(const Values& base, const Values& source) {
  Values d(base.size());
  for (size_t i = 0; i < d.size(); ++i) d[i] = source[i] - base[i];
  const int64_t n = static_cast<int64_t>(d.size());
  const MagnitudeIndex order = MagnitudeIndex::BuildOrder(View(base), View(source));
  const MagnitudeIndex histogram = MagnitudeIndex::BuildHistogram(View(base), View(source));
  MagnitudeIndex::Scratch scratch;
  for (const int64_t kept : {int64_t{0}, int64_t{1}, int64_t{2}, n / 10, n / 3, n / 2, n - 1, n}) {
    const Values want = TrimBySorting(d, kept);
    for (const MagnitudeIndex* index : {&order, &histogram}) {
      Values trimmed = d;
      Trim(index->Cut(kept, scratch), 0, n, trimmed.data());
      EXPECT_EQ(trimmed, want) << "kept " << kept << (index == &order ? ", order" : ", histogram");
    }
  }
}

TEST(MagnitudeIndexTest, CutsLikeAStableSort) {
  const Values base = Gaussian(10007, 1);
  ExpectCutsLikeSorting(base, Gaussian(10007, 2, 0.1f, base));
}

TEST(MagnitudeIndexTest, EqualMagnitudesKeepTheLowestIndices) {
  const Values base(5000, 0.0f);
  Values source(5000);
  for (int i = 0; i < 5000; ++i) source[i] = (i % 2 ? -1.0f : 1.0f) * static_cast<float>(i * 7919 % 4);
  ExpectCutsLikeSorting(base, source);
}

TEST(MagnitudeIndexTest, AllElementsEqual) {
  const Values base(100, 1.0f);
  ExpectCutsLikeSorting(base, base);
  ExpectCutsLikeSorting(base, Values(100, 3.0f));
}

TEST(MagnitudeIndexTest, MagnitudesOfEveryExponent) {
  Values source;
  for (uint32_t bits = 1; bits < 0x7f800000u; bits += 0x40321u) source.push_back(std::bit_cast<float>(bits));
  ExpectCutsLikeSorting(Values(source.size(), 0.0f), source);
}

TEST(MagnitudeIndexTest, ABinOfVeryManyElementsIsCountedRatherThanSorted) {
  // More than a million magnitudes within one bin, some of them equal.
  const int64_t n = 1'300'000;
  const Values base(n, 0.0f);
  Values source(n);
  for (int64_t i = 0; i < n; ++i) {
    source[i] = std::bit_cast<float>(0x3f800000u + static_cast<uint32_t>(i * 7919 % 30'000));
  }
  const MagnitudeIndex order = MagnitudeIndex::BuildOrder(View(base), View(source));
  const MagnitudeIndex histogram = MagnitudeIndex::BuildHistogram(View(base), View(source));
  MagnitudeIndex::Scratch scratch;
  for (const int64_t kept : {int64_t{1}, n / 3, n - 1}) {
    Values with_order = source, with_histogram = source;
    Trim(order.Cut(kept, scratch), 0, n, with_order.data());
    Trim(histogram.Cut(kept, scratch), 0, n, with_histogram.data());
    EXPECT_EQ(with_order, with_histogram) << kept;
    EXPECT_EQ(n - std::count(with_order.begin(), with_order.end(), 0.0f), kept);
  }
}

TEST(MagnitudeIndexTest, ValueOfIsTheMagnitudeAtThatPlaceOfTheRanking) {
  const Values base(9, 0.0f), source = {0, -5, 3, 3, 0.5f, -3, 0, 8, 1};
  const Values want = {8, 5, 3, 3, 3, 1, 0.5f, 0, 0};
  MagnitudeIndex::Scratch scratch;
  for (const MagnitudeIndex& index :
       {MagnitudeIndex::BuildOrder(View(base), View(source)), MagnitudeIndex::BuildHistogram(View(base), View(source))}) {
    EXPECT_EQ(index.count(), 9);
    EXPECT_EQ(index.nonzero(), 7);
    for (int kept = 1; kept <= 9; ++kept) {
      EXPECT_EQ(std::bit_cast<float>(index.ValueOf(kept, scratch)), want[kept - 1]) << kept;
    }
  }
}

TEST(MagnitudeIndexTest, KeptCountTruncatesAndKeepsAtLeastOne) {
  EXPECT_EQ(MagnitudeIndex::KeptCount(0.29, 100), 28);  // 0.29 * 100 is 28.999999999999996
  EXPECT_EQ(MagnitudeIndex::KeptCount(0.5, 7), 3);
  EXPECT_EQ(MagnitudeIndex::KeptCount(1e-9, 7), 1);
  EXPECT_EQ(MagnitudeIndex::KeptCount(0, 7), 0);
  EXPECT_EQ(MagnitudeIndex::KeptCount(1, 7), 7);
}

}  // namespace
}  // namespace merganser
