// Dot products of the sources of a merge, tensor by tensor, in fp64: all that methods on spheres (slerp, karcher,
// model_stock ...) need to know of the values to give each source its coefficient. They do not depend on the genome.
#ifndef MERGANSER_WORKER_MERGE_PRODUCTS_H_
#define MERGANSER_WORKER_MERGE_PRODUCTS_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "worker/merge/float_blocks.h"

namespace merganser {

// Which vectors: the models as they are (the base, where there is one, comes first), or source - base (the sources
// themselves where there is no base).
enum class ProductsOf { kModels, kTaskVectors };

// What one vector is: a whole tensor, its runs along the last dimension, or its runs along the first. (A tensor of one
// dimension is one vector.)
enum class VectorScope { kTensor, kLastDimension, kFirstDimension };

// Which vector of a tensor an element belongs to.
struct VectorShape {
  VectorScope scope = VectorScope::kTensor;
  int64_t vectors = 1;
  int64_t length = 0;  // elements of one vector

  static VectorShape For(VectorScope scope, absl::Span<const int64_t> tensor_shape);
  // REQUIRES: the tensor is not empty.
  int64_t VectorOf(int64_t element) const {
    return scope == VectorScope::kTensor ? 0 : scope == VectorScope::kLastDimension ? element / length : element % vectors;
  }
};

// The products of n vectors.
struct Products {
  int n = 0;
  const double* values = nullptr;  // upper triangle, row by row

  double At(int i, int j) const {
    if (i > j) return At(j, i);
    return values[i * n - i * (i - 1) / 2 + (j - i)];
  }
  // Numbers in the triangle.
  static int Size(int n) { return n * (n + 1) / 2; }
};

// Values that are held in scratch per vector while its products are summed. Part of the results: sums run in eight
// interleaved lanes over each block.
inline constexpr int64_t kProductBlock = 1024;

// Adds the products of elements [first, first + count) of whole tensors to `sums`, a triangle. `subtract` (the base) may be
// null. `scratch` holds (n + 1) * kProductBlock values.
void AddProducts(absl::Span<const FloatTensor> tensors, const FloatTensor* subtract, int64_t first, int64_t count,
                 float* scratch, double* sums);

// Sets sums[v - first_vector] to the triangle of vector v, for `count` vectors from first_vector on. REQUIRES: shape.scope
// is not kTensor. `scratch` as above.
void VectorProducts(absl::Span<const FloatTensor> tensors, const FloatTensor* subtract, const VectorShape& shape,
                    int64_t first_vector, int64_t count, float* scratch, double* sums);

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_PRODUCTS_H_
