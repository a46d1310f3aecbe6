// The products that a CMA-ES of many genes spends its time in, compiled for several widths of vectors; the widest that the
// processor has is chosen at run time.
#ifndef MERGANSER_COORDINATOR_OPTIMIZER_DENSE_KERNELS_H_
#define MERGANSER_COORDINATOR_OPTIMIZER_DENSE_KERNELS_H_

#include <cstdint>
#include <vector>

namespace merganser {

// All matrices are column-major without gaps and in doubles; "lower" is the triangle on and below the diagonal. One thread,
// no state: equal arguments give equal bits with one set of kernels. Sets differ from each other in rounding, so the same
// search on another type of processor may propose genomes that differ in their last digits: a job's log is authoritative for
// them (Optimizer::Adopt).
struct DenseKernels {
  const char* name;  // "portable", "x86-64-v3" (AVX2 and FMA), "x86-64-v4" (AVX-512)

  // out = a z with a [n, n], z and out [n, m]. Every number is summed in the same order whatever m, so that multiplying many
  // columns at once equals multiplying each. `lower`: what is above a's diagonal counts as zero and is not read.
  void (*multiply_in_order)(int64_t n, int64_t m, bool lower, const double* a, const double* z, double* out);

  // The lower triangle of c [n, n] = keep c + y diag(weights) y^T, with y [n, m], and then the other triangle as its mirror.
  // The lower triangle of `from` is what c was before; `from` may be c.
  void (*update_symmetric)(int64_t n, int64_t m, double keep, const double* from, const double* y, const double* weights,
                           double* c);

  // Replaces the lower triangle of a [n, n] by its Cholesky factor and zeroes what is above. False, with a spoilt, if a is
  // not positive definite.
  bool (*cholesky)(int64_t n, double* a);

  // b [n, m] = l^-1 b, or l^-T b where `transposed`; l [n, n] is lower triangular with a diagonal without zeros.
  void (*solve_lower)(int64_t n, int64_t m, bool transposed, const double* l, double* b);

  // out[i], i < n: the normal number that Rng(key, stream) makes at position 2 (first + i) (common/base/rng.h), but for its
  // last digits. It does not depend on n.
  void (*normals)(uint64_t key, uint64_t stream, uint64_t first, int64_t n, double* out);
};

// The widest set that this processor has; always the same one.
const DenseKernels& Kernels();

// All sets that this processor has, the portable one first.
std::vector<const DenseKernels*> AllKernels();

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_OPTIMIZER_DENSE_KERNELS_H_
