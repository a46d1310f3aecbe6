#include "worker/merge/products.h"

#include <algorithm>

#include "worker/merge/block_math.h"
#include "worker/merge/multiversion.h"

namespace merganser {
namespace {

MG_MULTIVERSION double Dot(const float* __restrict x, const float* __restrict y, int64_t count) {
  double lanes[8] = {};
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    for (int l = 0; l < 8; ++l) lanes[l] += static_cast<double>(x[i + l]) * static_cast<double>(y[i + l]);
  }
  for (; i < count; ++i) lanes[i % 8] += static_cast<double>(x[i]) * static_cast<double>(y[i]);
  double total = 0;
  for (const double lane : lanes) total += lane;
  return total;
}

// Loads element `first` and the following of every tensor to scratch + t * kProductBlock.
void Load(absl::Span<const FloatTensor> tensors, const FloatTensor* subtract, int64_t first, int64_t count, float* scratch) {
  const int n = static_cast<int>(tensors.size());
  float* base = scratch + n * kProductBlock;
  if (subtract != nullptr) LoadBlock(*subtract, first, count, base);
  for (int t = 0; t < n; ++t) {
    LoadBlock(tensors[t], first, count, scratch + t * kProductBlock);
    if (subtract != nullptr) Subtract(base, count, scratch + t * kProductBlock);
  }
}

}  // namespace

VectorShape VectorShape::For(VectorScope scope, absl::Span<const int64_t> tensor_shape) {
  int64_t elements = 1;
  for (const int64_t dim : tensor_shape) elements *= dim;
  if (scope == VectorScope::kTensor || tensor_shape.size() < 2 || elements == 0) {
    return {VectorScope::kTensor, 1, elements};
  }
  const int64_t length = scope == VectorScope::kLastDimension ? tensor_shape.back() : tensor_shape.front();
  return {scope, elements / length, length};
}

void AddProducts(absl::Span<const FloatTensor> tensors, const FloatTensor* subtract, int64_t first, int64_t count,
                 float* scratch, double* sums) {
  const int n = static_cast<int>(tensors.size());
  for (int64_t at = 0; at < count; at += kProductBlock) {
    const int64_t block = std::min(kProductBlock, count - at);
    Load(tensors, subtract, first + at, block, scratch);
    double* sum = sums;
    for (int i = 0; i < n; ++i) {
      for (int j = i; j < n; ++j) *sum++ += Dot(scratch + i * kProductBlock, scratch + j * kProductBlock, block);
    }
  }
}

void VectorProducts(absl::Span<const FloatTensor> tensors, const FloatTensor* subtract, const VectorShape& shape,
                    int64_t first_vector, int64_t count, float* scratch, double* sums) {
  const int n = static_cast<int>(tensors.size());
  const int size = Products::Size(n);
  std::fill(sums, sums + count * size, 0.0);
  if (shape.scope == VectorScope::kLastDimension) {
    for (int64_t v = 0; v < count; ++v) {
      AddProducts(tensors, subtract, (first_vector + v) * shape.length, shape.length, scratch, sums + v * size);
    }
    return;
  }
  // Vectors along the first dimension lie side by side: element k of all of them is a row of shape.vectors values.
  for (int64_t k = 0; k < shape.length; ++k) {
    for (int64_t at = 0; at < count; at += kProductBlock) {
      const int64_t block = std::min(kProductBlock, count - at);
      Load(tensors, subtract, k * shape.vectors + first_vector + at, block, scratch);
      int pair = 0;
      for (int i = 0; i < n; ++i) {
        for (int j = i; j < n; ++j, ++pair) {
          const float* x = scratch + i * kProductBlock;
          const float* y = scratch + j * kProductBlock;
          double* sum = sums + at * size + pair;
          for (int64_t c = 0; c < block; ++c) sum[c * size] += static_cast<double>(x[c]) * static_cast<double>(y[c]);
        }
      }
    }
  }
}

}  // namespace merganser
