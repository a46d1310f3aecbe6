// The body of dense_kernels_*.cc, each compiled for another instruction set: they define MG_KERNELS, the name of the set,
// and Eigen, so that this set's templates have names of their own. (The linker merges templates of equal names; a portable
// caller would get the wide ones.) For the same reason nothing of the standard library is used here that is not inlined.

// Small products go the way of large ones. Eigen's own way with them takes single elements or vectors by where the result
// lies in memory; where the compiler does not fuse the former (a sanitizer's build) they round otherwise, from run to run.
#define EIGEN_GEMM_TO_COEFFBASED_THRESHOLD 0

#include <Eigen/Cholesky>
#include <Eigen/Core>

#include "coordinator/optimizer/dense_kernels.h"
#include "coordinator/optimizer/normal_kernel_inl.h"

namespace merganser {
namespace {

using Matrix = Eigen::Map<Eigen::MatrixXd>;
using ConstMatrix = Eigen::Map<const Eigen::MatrixXd>;

void MultiplyInOrder(int64_t n, int64_t m, bool lower, const double* a, const double* z, double* out) {
  constexpr int64_t kRows = 128;  // of `out` stay in the first cache
  for (int64_t i = 0; i < n * m; ++i) out[i] = 0;
  for (int64_t low = 0; low < n; low += kRows) {
    const int64_t rows = n - low < kRows ? n - low : kRows;
    // Of a lower triangle: the square on the diagonal is read column by column from the diagonal on.
    const int64_t columns = lower ? low : n;
    int64_t j = 0;
    for (; j + 4 <= columns; j += 4) {
      const double* __restrict a0 = a + j * n + low;
      const double* __restrict a1 = a0 + n;
      const double* __restrict a2 = a1 + n;
      const double* __restrict a3 = a2 + n;
      for (int64_t k = 0; k < m; ++k) {
        const double z0 = z[k * n + j], z1 = z[k * n + j + 1], z2 = z[k * n + j + 2], z3 = z[k * n + j + 3];
        double* __restrict to = out + k * n + low;
        for (int64_t r = 0; r < rows; ++r) to[r] += a0[r] * z0 + a1[r] * z1 + a2[r] * z2 + a3[r] * z3;
      }
    }
    for (; j < (lower ? low + rows : n); ++j) {
      const int64_t first = lower && j > low ? j - low : 0;
      const double* __restrict column = a + j * n + low;
      for (int64_t k = 0; k < m; ++k) {
        const double factor = z[k * n + j];
        double* __restrict to = out + k * n + low;
        for (int64_t r = first; r < rows; ++r) to[r] += column[r] * factor;
      }
    }
  }
}

void UpdateSymmetric(int64_t n, int64_t m, double keep, const double* from, const double* y, const double* weights,
                     double* c) {
  // By panels of columns: what a panel has gone through is still in the second cache when it is mirrored.
  constexpr int64_t kPanel = 64;
  const ConstMatrix points(y, n, m);
  const Eigen::MatrixXd weighted = points * Eigen::Map<const Eigen::VectorXd>(weights, m).asDiagonal();
  Matrix to(c, n, n);
  const ConstMatrix before(from, n, n);
  for (int64_t j = 0; j < n; j += kPanel) {
    const int64_t width = n - j < kPanel ? n - j : kPanel;
    auto panel = to.block(j, j, n - j, width);
    panel = keep * before.block(j, j, n - j, width);
    panel.noalias() += weighted.bottomRows(n - j) * points.middleRows(j, width).transpose();
    for (int64_t i = j; i < n; i += kPanel) {
      const int64_t height = n - i < kPanel ? n - i : kPanel;
      if (i > j) {
        to.block(j, i, width, height) = to.block(i, j, height, width).transpose();
        continue;
      }
      for (int64_t column = 1; column < width; ++column) {
        for (int64_t row = 0; row < column; ++row) to(j + row, j + column) = to(j + column, j + row);
      }
    }
  }
}

bool Cholesky(int64_t n, double* a) {
  Matrix matrix(a, n, n);
  Eigen::LLT<Eigen::Ref<Eigen::MatrixXd>> factor(matrix);
  if (factor.info() != Eigen::Success) return false;
  for (int64_t j = 1; j < n; ++j) {
    for (int64_t i = 0; i < j; ++i) a[j * n + i] = 0;
  }
  return true;
}

void SolveLower(int64_t n, int64_t m, bool transposed, const double* l, double* b) {
  const auto lower = ConstMatrix(l, n, n).triangularView<Eigen::Lower>();
  Matrix right(b, n, m);
  if (transposed) {
    lower.transpose().solveInPlace(right);
  } else {
    lower.solveInPlace(right);
  }
}

}  // namespace

extern const DenseKernels MG_KERNELS;
const DenseKernels MG_KERNELS = {MG_KERNELS_NAME, &MultiplyInOrder, &UpdateSymmetric, &Cholesky, &SolveLower, &Normals};

}  // namespace merganser
