#include "worker/merge/cut_search.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <vector>

#include "common/base/rng.h"
#include "gtest/gtest.h"
#include "worker/merge/magnitude_index.h"

namespace merganser {
namespace {

struct Pair {
  std::vector<float> base, source;

  FloatTensor Of(const std::vector<float>& values) const {
    return {DType::kF32, reinterpret_cast<const std::byte*>(values.data()), static_cast<int64_t>(values.size())};
  }
};

Pair MakePair(int64_t count, const std::function<float(double, double)>& difference) {
  Pair pair;
  Rng rng(7, static_cast<uint64_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    pair.base.push_back(1);
    const double u = rng.Uniform(), v = rng.Uniform();
    pair.source.push_back(1 + difference(u, v));
  }
  return pair;
}

// What the cut keeps of the differences.
std::vector<float> Kept(const Pair& pair, const MagnitudeCut& cut) {
  std::vector<float> x = pair.source;
  Subtract(pair.base.data(), static_cast<int64_t>(x.size()), x.data());
  Trim(cut, 0, static_cast<int64_t>(x.size()), x.data());
  return x;
}

struct Case {
  const char* name;
  std::function<float(double, double)> difference;
};

class CutSearchTest : public testing::TestWithParam<Case> {};

TEST_P(CutSearchTest, KeepsWhatTheIndexKeeps) {
  ThreadPool pool(2);
  for (const int64_t count : {int64_t{1}, int64_t{1000}, int64_t{70'001}, int64_t{300'011}}) {
    const Pair pair = MakePair(count, GetParam().difference);
    const FloatTensor base = pair.Of(pair.base), source = pair.Of(pair.source);
    const MagnitudeIndex index = MagnitudeIndex::BuildHistogram(base, source);
    std::vector<int64_t> kept;
    for (const double density : {0.0, 0.00001, 0.01, 0.3, 0.5, 0.9, 0.99999, 1.0}) {
      kept.push_back(MagnitudeIndex::KeptCount(density, count));
    }
    std::vector<MagnitudeCut> cuts(kept.size());
    std::vector<CutQuery> queries;
    for (size_t i = 0; i < kept.size(); ++i) queries.push_back({&base, &source, kept[i], &cuts[i]});
    SearchCuts(queries, pool, {});
    MagnitudeIndex::Scratch scratch;
    for (size_t i = 0; i < kept.size(); ++i) {
      EXPECT_EQ(Kept(pair, cuts[i]), Kept(pair, index.Cut(kept[i], scratch))) << kept[i] << " of " << count;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Distributions, CutSearchTest,
    testing::Values(Case{"Smooth", [](double u, double v) { return static_cast<float>(0.01 * (u - v)); }},
                    // Few magnitudes, many of each: where differences of bf16 values lie.
                    Case{"Coarse", [](double u, double v) { return std::round(static_cast<float>(8 * (u - v))) / 256; }},
                    Case{"MostlyZero", [](double u, double v) { return u < 0.9 ? 0.0f : static_cast<float>(v - 0.5); }},
                    Case{"AllEqual", [](double u, double) { return u < 0.5 ? 0.25f : -0.25f; }},
                    Case{"AllZero", [](double, double) { return 0.0f; }},
                    // All that is large lies where no sample of one place would see it.
                    Case{"FewHuge", [](double u, double v) { return u < 0.0001 ? 1e30f : static_cast<float>(1e-3 * v); }}),
    [](const auto& info) { return info.param.name; });

TEST(CutSearchTest, QueriesOfSeveralTensorsAndSourcesAreAnsweredEachForItself) {
  ThreadPool pool(1);
  const Pair a = MakePair(100'000, [](double u, double v) { return static_cast<float>(u - v); });
  const Pair b = MakePair(80'000, [](double u, double v) { return static_cast<float>(u * v); });
  const FloatTensor tensors[] = {a.Of(a.base), a.Of(a.source), b.Of(b.base), b.Of(b.source)};
  MagnitudeCut of_a, of_b, outliers_of_b;
  SearchCuts({{&tensors[0], &tensors[1], 40'000, &of_a},
              {&tensors[2], &tensors[3], 60'000, &of_b},
              {&tensors[2], &tensors[3], 100, &outliers_of_b}},
             pool, {});
  const auto kept = [](const std::vector<float>& x) { return x.size() - std::count(x.begin(), x.end(), 0.0f); };
  EXPECT_EQ(kept(Kept(a, of_a)), 40'000u);
  EXPECT_EQ(kept(Kept(b, of_b)), 60'000u);
  EXPECT_EQ(kept(Kept(b, outliers_of_b)), 100u);
}

}  // namespace
}  // namespace merganser
