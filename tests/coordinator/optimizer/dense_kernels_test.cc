#include "coordinator/optimizer/dense_kernels.h"

#include <gtest/gtest.h>

#include <Eigen/Core>
#include <Eigen/LU>
#include <vector>

#include "common/base/rng.h"

namespace merganser {
namespace {

using Eigen::MatrixXd;
using Eigen::VectorXd;

// Sizes around the kernels' blocks, and one gene.
const int kSizes[] = {1, 3, 63, 64, 65, 128, 130, 197};

MatrixXd PositiveDefinite(int n) {
  const MatrixXd factor = MatrixXd::Random(n, n);
  return factor * factor.transpose() + MatrixXd::Identity(n, n);
}

double Largest(const MatrixXd& difference) { return difference.cwiseAbs().maxCoeff(); }

class EachKernels : public testing::TestWithParam<const DenseKernels*> {};

TEST_P(EachKernels, MultipliesAsEigenDoesAndEachColumnAsIfItWereAlone) {
  for (const int n : kSizes) {
    const MatrixXd a = MatrixXd::Random(n, n), z = MatrixXd::Random(n, 5);
    for (const bool lower : {false, true}) {
      MatrixXd product(n, 5), column(n, 1);
      GetParam()->multiply_in_order(n, 5, lower, a.data(), z.data(), product.data());
      const MatrixXd read = lower ? MatrixXd(a.triangularView<Eigen::Lower>()) : a;
      EXPECT_LT(Largest(product - read * z), 1e-12 * n) << n;
      for (int k = 0; k < 5; ++k) {
        GetParam()->multiply_in_order(n, 1, lower, a.data(), z.col(k).eval().data(), column.data());
        EXPECT_EQ(column, product.col(k)) << n;
      }
    }
  }
}

TEST_P(EachKernels, UpdatesASymmetricMatrixInPlaceOrElsewhere) {
  for (const int n : kSizes) {
    const MatrixXd before = PositiveDefinite(n), y = MatrixXd::Random(n, 7);
    const VectorXd weights = VectorXd::LinSpaced(7, 0.5, -0.2);
    const MatrixXd want = 0.9 * before + y * weights.asDiagonal() * y.transpose();
    MatrixXd lower_only = before;
    lower_only.triangularView<Eigen::StrictlyUpper>().setConstant(1e300);  // must not be read into the result
    MatrixXd after(n, n);
    GetParam()->update_symmetric(n, 7, 0.9, lower_only.data(), y.data(), weights.data(), after.data());
    EXPECT_LT(Largest(after - want), 1e-12 * n) << n;
    EXPECT_EQ(after, after.transpose()) << n;
    GetParam()->update_symmetric(n, 7, 0.9, lower_only.data(), y.data(), weights.data(), lower_only.data());
    EXPECT_EQ(lower_only, after) << n;
  }
}

// A repeated search has its matrices elsewhere.
TEST_P(EachKernels, UpdatesToTheSameBitsWhereverTheResultLies) {
  for (const int n : {2, 4, 8, 12, 63}) {
    for (const int m : {2, 5, 9}) {
      const MatrixXd before = PositiveDefinite(n), y = MatrixXd::Random(n, m);
      const VectorXd weights = VectorXd::LinSpaced(m, 0.5, -0.2);
      MatrixXd first;
      for (const int offset : {0, 2, 4, 6}) {  // of 8 bytes; a vector has up to 64
        VectorXd memory(n * n + 8);
        Eigen::Map<MatrixXd> after(memory.data() + offset, n, n);
        GetParam()->update_symmetric(n, m, 0.9, before.data(), y.data(), weights.data(), after.data());
        if (offset == 0) first = after;
        EXPECT_EQ(after, first) << n << " " << m << " " << offset;
      }
    }
  }
}

TEST_P(EachKernels, FactorizesAndSolves) {
  for (const int n : kSizes) {
    const MatrixXd a = PositiveDefinite(n), b = MatrixXd::Random(n, 3);
    MatrixXd root = a;
    ASSERT_TRUE(GetParam()->cholesky(n, root.data()));
    EXPECT_TRUE(root.isLowerTriangular(0));
    EXPECT_LT(Largest(root * root.transpose() - a), 1e-12 * n * n) << n;
    MatrixXd forward = b, backward = b;
    GetParam()->solve_lower(n, 3, false, root.data(), forward.data());
    GetParam()->solve_lower(n, 3, true, root.data(), backward.data());
    EXPECT_LT(Largest(root * forward - b), 1e-11 * n) << n;
    EXPECT_LT(Largest(root.transpose() * backward - b), 1e-11 * n) << n;
  }
}

TEST_P(EachKernels, SaysWhereAMatrixHasNoFactor) {
  for (const int n : kSizes) {
    MatrixXd a = PositiveDefinite(n);
    a(n - 1, n - 1) = -1;
    EXPECT_FALSE(GetParam()->cholesky(n, a.data())) << n;
  }
}

INSTANTIATE_TEST_SUITE_P(Widths, EachKernels, testing::ValuesIn(AllKernels()),
                         [](const auto& info) { return std::string("Set") + std::to_string(info.index); });

TEST(DenseKernels, TheWidestIsChosenAndAlwaysTheSame) {
  EXPECT_EQ(&Kernels(), AllKernels().back());
  EXPECT_EQ(&Kernels(), &Kernels());
  EXPECT_STREQ(AllKernels().front()->name, "portable");
}

TEST(DenseKernels, NormalsAreThoseOfTheStreamWhateverTheirNumber) {
  constexpr uint64_t kKey = 0x123456789abcdef0, kStream = (uint64_t{3} << 40) + 11;
  for (const DenseKernels* kernels : AllKernels()) {
    for (const uint64_t first : {uint64_t{0}, uint64_t{7}, (uint64_t{1} << 32) - 20}) {
      std::vector<double> all(1000);
      kernels->normals(kKey, kStream, first, 1000, all.data());
      Rng rng(kKey, kStream);
      rng.SkipTo(2 * first);
      for (const double x : all) ASSERT_NEAR(x, rng.Normal(), 1e-14) << kernels->name << " from " << first;
      for (const int64_t n : {1, 63, 64, 65, 200}) {
        std::vector<double> some(n + 1, 77.0);
        kernels->normals(kKey, kStream, first, n, some.data());
        EXPECT_EQ(some[n], 77.0) << "beyond the last";
        some.pop_back();
        EXPECT_EQ(some, std::vector<double>(all.begin(), all.begin() + n)) << kernels->name << ", " << n;
      }
    }
  }
}

}  // namespace
}  // namespace merganser
