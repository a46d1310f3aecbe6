// Each kernel against the plain formula in double precision, on each instruction set that this
// processor has.
#include <gtest/gtest.h>

#include <bit>
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

// fp32 values that bf16 holds exactly, and the same as bf16.
std::vector<uint16_t> RoundToBf16(std::vector<float>& values) {
  std::vector<uint16_t> narrow;
  for (float& x : values) {
    narrow.push_back(static_cast<uint16_t>(std::bit_cast<uint32_t>(x) >> 16));
    x = std::bit_cast<float>(static_cast<uint32_t>(narrow.back()) << 16);
  }
  return narrow;
}

TEST_P(KernelsTest, LinearIsTheMatrixProduct) {
  constexpr int panels = 3, columns = panels * kPanel;
  for (const int k : {37, 2 * kDepth + 5}) {
    for (int rows = 1; rows <= 27; ++rows) {  // every remainder of the block size
      auto w = Random(columns * k);
      const auto narrow = RoundToBf16(w);
      const auto a = Random(rows * k), bias = Random(columns);
      const auto before = Random(rows * columns);
      auto c = before, c_of_bf16 = before;
      std::vector<float> scratch(LinearScratch(rows));
      LinearArgs args{a.data(), k,      rows,        w.data(), WeightType::kFp32, k,
                      0,        panels, bias.data(), c.data(), columns,           scratch.data()};
      kernels_->linear_add(args, 0.5f);
      args.weight = narrow.data();
      args.type = WeightType::kBf16;
      args.c = c_of_bf16.data();
      kernels_->linear_add(args, 0.5f);
      EXPECT_EQ(c, c_of_bf16);
      for (int r = 0; r < rows; ++r) {
        for (int n = 0; n < columns; ++n) {
          double want = bias[n];
          for (int i = 0; i < k; ++i) want += double{a[r * k + i]} * w[(n / kPanel * k + i) * kPanel + n % kPanel];
          ASSERT_NEAR(c[r * columns + n], before[r * columns + n] + 0.5 * want, k < 100 ? 2e-5 : 1e-4)
              << rows << " rows, at " << r << ", " << n;
        }
      }
    }
  }
}

// Both factors rounded to bf16, the products summed in fp32, with instructions for it or without.
TEST_P(KernelsTest, PairsMultiplyBf16) {
  constexpr int panels = 2, columns = panels * kPanel;
  for (const int k : {1, 37, 2 * kDepth + 6}) {
    for (int rows = 1; rows <= 27; ++rows) {
      auto w = Random(columns * k), a = Random(rows * k);
      const auto narrow = RoundToBf16(w);
      std::vector<uint16_t> pairs(panels * (k + 1) / 2 * 2 * kPanel + 2 * kPanel, 0);
      const int64_t panel_size = (k + 1) / 2 * 2 * kPanel;
      for (int p = 0; p < panels; ++p) {
        for (int i = 0; i < k; ++i) {
          for (int c = 0; c < kPanel; ++c) {
            pairs[p * panel_size + (i / 2 * kPanel + c) * 2 + i % 2] = narrow[(p * k + i) * kPanel + c];
          }
        }
      }
      std::vector<float> c(rows * columns), scratch(PairsScratch(rows, k));
      kernels_->linear({a.data(), k, rows, pairs.data(), WeightType::kBf16Pairs, k, 0, panels, nullptr, c.data(), columns,
                        scratch.data()});
      for (float& x : a) {  // to the nearest, ties to even
        const uint32_t bits = std::bit_cast<uint32_t>(x);
        x = std::bit_cast<float>((bits + 0x7fffu + (bits >> 16 & 1u)) & 0xffff0000u);
      }
      for (int r = 0; r < rows; ++r) {
        for (int n = 0; n < columns; ++n) {
          double want = 0;
          for (int i = 0; i < k; ++i) want += double{a[r * k + i]} * w[(n / kPanel * k + i) * kPanel + n % kPanel];
          ASSERT_NEAR(c[r * columns + n], want, k < 100 ? 2e-5 : 1e-4)
              << rows << " rows of " << k << ", at " << r << ", " << n;
        }
      }
    }
  }
}

TEST_P(KernelsTest, RowsDoNotDependOnTheirNeighbours) {
  constexpr int k = kDepth + 64, rows = 29;
  const auto a = Random(rows * k), w = Random(kPanel * k);
  std::vector<float> all(rows * kPanel), one(kPanel), scratch(LinearScratch(rows));
  kernels_->linear({a.data(), k, rows, w.data(), WeightType::kFp32, k, 0, 1, nullptr, all.data(), kPanel, scratch.data()});
  for (int r = 0; r < rows; ++r) {
    kernels_->linear(
        {a.data() + r * k, k, 1, w.data(), WeightType::kFp32, k, 0, 1, nullptr, one.data(), kPanel, scratch.data()});
    EXPECT_EQ(one, std::vector<float>(all.begin() + r * kPanel, all.begin() + (r + 1) * kPanel)) << r;
  }
}

TEST_P(KernelsTest, GatedIsActivationOfGateTimesUp) {
  constexpr int k = 16;
  const auto activations = {
      std::pair{Activation::kSilu, +[](double x) { return x / (1.0 + std::exp(-x)); }},
      std::pair{Activation::kGeluTanh,
                +[](double x) { return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))); }},
      std::pair{Activation::kGelu, +[](double x) { return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0))); }},
      std::pair{Activation::kRelu, +[](double x) { return x > 0 ? x : 0.0; }}};
  for (const float step : {12.5f, 0.4f}) {
    std::vector<float> a(k, 0.0f);
    a[0] = 1.0f;
    std::vector<float> w(kPanel * k, 0.0f), c(kLane), scratch(LinearScratch(1));
    for (int i = 0; i < kLane; ++i) {
      w[i] = static_cast<float>(i - 8) * step;  // gates -100 .. 87, and -3.2 .. 2.8
      w[kLane + i] = 3.0f;
    }
    for (const auto& [activation, formula] : activations) {
      kernels_->linear_gated(
          {a.data(), k, 1, w.data(), WeightType::kFp32, k, 0, 1, nullptr, c.data(), kLane, scratch.data()}, activation);
      for (int i = 0; i < kLane; ++i) {
        const double want = 3.0 * formula(w[i]);
        EXPECT_NEAR(c[i], want, 2e-6 * std::max(1.0, std::abs(want)))
            << w[i] << " activation " << static_cast<int>(activation);
      }
    }
  }
}

TEST_P(KernelsTest, SoftcapIsCapTimesTanh) {
  std::vector<float> x{-200, -50, -3, -0.01f, 0, 1e-4f, 0.5f, 20, 49, 51, 1000};
  for (int i = 0; i < 20; ++i) x.push_back(static_cast<float>(i));
  const auto before = x;
  kernels_->softcap(x.data(), static_cast<int>(x.size()), 50.0f);
  for (size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(x[i], 50 * std::tanh(before[i] / 50.0), 1e-5);
}

TEST_P(KernelsTest, AddMultipliesAndAdds) {
  constexpr int rows = 3, width = 48, stride = 64;
  const auto x = Random(rows * stride), before = Random(rows * stride);
  auto c = before;
  kernels_->add(x.data(), stride, rows, width, 0.75f, c.data(), stride);
  for (int i = 0; i < rows * stride; ++i) {
    const bool within = i % stride < width;
    EXPECT_NEAR(c[i], within ? before[i] + 0.75f * x[i] : before[i], 1e-6);
  }
}

TEST_P(KernelsTest, AttentionIsSoftmaxOverTheWindow) {
  constexpr int dim = 48, positions = 70;
  for (const int group : {1, 2, 3, 4, 7}) {
    for (const int window : {5, 33, 1000}) {
      for (const float cap : {0.0f, 1.5f}) {
        const auto q = Random(group * dim), k = Random(positions * dim), v = Random(positions * dim);
        std::vector<float> blocked((positions + kLane) / kLane * kLane * dim, std::numeric_limits<float>::quiet_NaN());
        for (int p = 0; p < positions; ++p) {
          for (int d = 0; d < dim; ++d) blocked[p / kLane * kLane * dim + d * kLane + p % kLane] = k[p * dim + d];
        }
        std::vector<float> scores(AttentionWorkspace(group, positions)), out(group * dim);
        kernels_->attention({q.data(), group * dim, 1, group, dim, blocked.data(), v.data(), positions - 1, window, 0.2f,
                             cap, scores.data(), out.data(), group * dim});
        for (int h = 0; h < group; ++h) {
          std::vector<double> want(dim, 0.0);
          double sum = 0;
          for (int p = std::max(0, positions - window); p < positions; ++p) {
            double score = 0;
            for (int d = 0; d < dim; ++d) score += double{q[h * dim + d]} * k[p * dim + d];
            score *= 0.2;
            if (cap > 0) score = cap * std::tanh(score / cap);
            const double e = std::exp(score);
            sum += e;
            for (int d = 0; d < dim; ++d) want[d] += e * v[p * dim + d];
          }
          for (int d = 0; d < dim; ++d) ASSERT_NEAR(out[h * dim + d], want[d] / sum, 1e-5) << group << " " << window;
        }
      }
    }
  }
}

TEST_P(KernelsTest, AttentionIsTheSameToTheBitWhereverPositionsLie) {
  constexpr int dim = 32, group = 3, positions = 75, rows = 4, slot = 160;
  // 0 .. 20 at their rows, 21 .. 39 and 40 .. 74 elsewhere.
  const std::vector<PositionSpan> spans{{0, 0}, {21, 101}, {40, 40}};
  const auto row_of = [](int p) { return p < 21 || p >= 40 ? p : p + 80; };
  for (const int window : {4, 30, 50, 1000}) {
    const auto q = Random(rows * group * dim), k = Random(positions * dim), v = Random(positions * dim);
    const auto attend = [&](bool branched) {
      // What no position holds is garbage.
      std::vector<float> keys(slot * dim, std::numeric_limits<float>::quiet_NaN()), values = keys;
      for (int p = 0; p < positions; ++p) {
        const int row = branched ? row_of(p) : p;
        for (int d = 0; d < dim; ++d) {
          keys[row / kLane * kLane * dim + d * kLane + row % kLane] = k[p * dim + d];
          values[row * dim + d] = v[p * dim + d];
        }
      }
      std::vector<float> scores(AttentionWorkspace(group, slot)), out(rows * group * dim);
      AttentionArgs args{q.data(),         group * dim, rows, group, dim,           keys.data(), values.data(),
                         positions - rows, window,      0.2f, 0.0f,  scores.data(), out.data(),  group * dim};
      if (branched) {
        args.spans = spans.data();
        args.span_count = static_cast<int>(spans.size());
      }
      kernels_->attention(args);
      return out;
    };
    EXPECT_EQ(attend(true), attend(false)) << window;
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

INSTANTIATE_TEST_SUITE_P(InstructionSets, KernelsTest, testing::Values("generic", "avx2", "avx512", "avx512bf16"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace merganser
