// Each kernel against the plain formula in double precision, on each instruction set that this
// processor has.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "worker/engine/cpu_kernels.h"

namespace merganser {
namespace {

class KernelsTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    kernels_ = FindCpuKernels(GetParam());
    if (kernels_ == nullptr) GTEST_SKIP() << "this processor has no " << GetParam();
  }
  std::vector<float> Random(size_t n) {
    std::normal_distribution<float> normal(0.0f, 1.0f);
    std::vector<float> v(n);
    for (float& x : v) x = normal(random_);
    return v;
  }

  const CpuKernels* kernels_ = nullptr;
  std::mt19937 random_{5};
};

TEST_P(KernelsTest, LinearIsTheMatrixProduct) {
  constexpr int k = 37, panels = 3, columns = panels * kPanel;
  for (int rows = 1; rows <= 27; ++rows) {  // every remainder of the block size
    const auto a = Random(rows * k), w = Random(columns * k), bias = Random(columns);
    auto c = Random(rows * columns);
    const auto before = c;
    kernels_->linear_add(
        {a.data(), k, rows, w.data(), k, 0, panels, bias.data(), c.data(), columns}, 0.5f);
    for (int r = 0; r < rows; ++r) {
      for (int n = 0; n < columns; ++n) {
        double want = bias[n];
        for (int i = 0; i < k; ++i)
          want += double{a[r * k + i]} * w[(n / kPanel * k + i) * kPanel + n % kPanel];
        ASSERT_NEAR(c[r * columns + n], before[r * columns + n] + 0.5 * want, 2e-5)
            << rows << " rows, at " << r << ", " << n;
      }
    }
  }
}

TEST_P(KernelsTest, RowsDoNotDependOnTheirNeighbours) {
  constexpr int k = 64, rows = 29;
  const auto a = Random(rows * k), w = Random(kPanel * k);
  std::vector<float> all(rows * kPanel), one(kPanel);
  kernels_->linear({a.data(), k, rows, w.data(), k, 0, 1, nullptr, all.data(), kPanel});
  for (int r = 0; r < rows; ++r) {
    kernels_->linear({a.data() + r * k, k, 1, w.data(), k, 0, 1, nullptr, one.data(), kPanel});
    EXPECT_EQ(one, std::vector<float>(all.begin() + r * kPanel, all.begin() + (r + 1) * kPanel))
        << r;
  }
}

TEST_P(KernelsTest, SwigluIsSiluOfGateTimesUp) {
  constexpr int k = 16;
  std::vector<float> a(k, 0.0f);
  a[0] = 1.0f;
  std::vector<float> w(kPanel * k, 0.0f), c(kLane);
  for (int i = 0; i < kLane; ++i) {
    w[i] = static_cast<float>(i - 8) * 12.5f;  // gates -100 .. 87
    w[kLane + i] = 3.0f;
  }
  kernels_->linear_swiglu({a.data(), k, 1, w.data(), k, 0, 1, nullptr, c.data(), kLane});
  for (int i = 0; i < kLane; ++i) {
    const double gate = w[i];
    const double want = 3.0 * gate / (1.0 + std::exp(-gate));
    EXPECT_NEAR(c[i], want, 1e-6 * std::max(1.0, std::abs(want))) << gate;
  }
}

TEST_P(KernelsTest, AttentionIsSoftmaxOverTheWindow) {
  constexpr int dim = 48, positions = 70;
  for (const int group : {1, 2, 3, 4, 7}) {
    for (const int window : {5, 33, 1000}) {
      const auto q = Random(group * dim), k = Random(positions * dim), v = Random(positions * dim);
      std::vector<float> blocked((positions + kLane) / kLane * kLane * dim,
                                 std::numeric_limits<float>::quiet_NaN());
      for (int p = 0; p < positions; ++p) {
        for (int d = 0; d < dim; ++d)
          blocked[p / kLane * kLane * dim + d * kLane + p % kLane] = k[p * dim + d];
      }
      std::vector<float> scores(AttentionWorkspace(group, positions)), out(group * dim);
      kernels_->attention({q.data(), group * dim, 1, group, dim, blocked.data(), v.data(),
                           positions - 1, window, 0.2f, scores.data(), out.data(), group * dim});
      for (int h = 0; h < group; ++h) {
        std::vector<double> want(dim, 0.0);
        double sum = 0;
        for (int p = std::max(0, positions - window); p < positions; ++p) {
          double score = 0;
          for (int d = 0; d < dim; ++d) score += double{q[h * dim + d]} * k[p * dim + d];
          const double e = std::exp(0.2 * score);
          sum += e;
          for (int d = 0; d < dim; ++d) want[d] += e * v[p * dim + d];
        }
        for (int d = 0; d < dim; ++d)
          ASSERT_NEAR(out[h * dim + d], want[d] / sum, 1e-5) << group << " " << window;
      }
    }
  }
}

TEST_P(KernelsTest, ReduceLogitsCarriesOverChunks) {
  for (const int n : {3, 64, 100}) {
    auto logits = Random(n);
    logits[n / 2] = logits[n - 1] = 7.0f;  // equals: the first wins
    float max = -std::numeric_limits<float>::infinity();
    int argmax = 0;
    double sum = 0;
    const int half = n / 3;
    kernels_->reduce_logits(logits.data(), half, 0, &max, &argmax, &sum);
    kernels_->reduce_logits(logits.data() + half, n - half, half, &max, &argmax, &sum);
    double want = 0;
    for (const float x : logits) want += std::exp(static_cast<double>(x) - 7.0);
    EXPECT_EQ(argmax, n / 2);
    EXPECT_EQ(max, 7.0f);
    EXPECT_NEAR(sum, want, 1e-5 * want);
  }
}

INSTANTIATE_TEST_SUITE_P(InstructionSets, KernelsTest, testing::Values("generic", "avx2", "avx512"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace merganser
