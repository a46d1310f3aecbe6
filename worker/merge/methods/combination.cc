#include "worker/merge/methods/combination.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "worker/merge/bf16_kernels.h"

namespace merganser {
namespace {

// Adds elements [at, at + count) of the block with the coefficients of each source given by `coefficient(source)`.
template <typename Coefficient>
void AddRun(const MergeBlock& block, size_t sources, int64_t at, int64_t count, Coefficient coefficient, bool task_vectors,
            float* out) {
  for (size_t s = 0; s < sources; ++s) {
    if (task_vectors) {
      AddScaledDifference(block.sources[s] + at, block.base + at, coefficient(s), count, out + at);
    } else {
      AddScaled(block.sources[s] + at, coefficient(s), count, out + at);
    }
  }
}

}  // namespace

Slerp2 Slerp2::At(double t, double cosine) {
  const double angle = std::acos(cosine);
  const double sine = std::sin(angle);
  return {std::sin((1 - t) * angle) / sine, std::sin(t * angle) / sine};
}

void Combination::Merge(const TensorTerms& terms, const MergeBlock& block, float* out) const {
  const size_t sources = terms.sources.size();
  const bool task_vectors = block.base != nullptr && products_of() == ProductsOf::kTaskVectors;
  const VectorShape& shape = terms.vectors;
  std::fill(out, out + block.count, 0.0f);
  if (shape.scope == VectorScope::kTensor) {
    if (block.base != nullptr && !task_vectors) AddScaled(block.base, terms.base_weight, block.count, out);
    AddRun(
        block, sources, 0, block.count, [&](size_t s) { return terms.sources[s].weight; }, task_vectors, out);
  } else if (shape.scope == VectorScope::kLastDimension) {
    for (int64_t at = 0, n; at < block.count; at += n) {
      const int64_t vector = (block.first + at) / shape.length;
      n = std::min(block.count - at, (vector + 1) * shape.length - block.first - at);
      AddRun(
          block, sources, at, n, [&](size_t s) { return terms.sources[s].vector_coefficients[vector]; }, task_vectors, out);
    }
  } else {
    for (int64_t at = 0, n; at < block.count; at += n) {
      const int64_t vector = (block.first + at) % shape.vectors;
      n = std::min(block.count - at, shape.vectors - vector);
      for (size_t s = 0; s < sources; ++s) {
        const float* own = terms.sources[s].vector_coefficients + vector;
        float* x = block.sources[s] + at;
        if (task_vectors) Subtract(block.base + at, n, x);
        MultiplyEach(own, n, x);
        AddScaled(x, 1.0f, n, out + at);
      }
    }
  }
  if (task_vectors) AddToBase(block.base, out, 1.0f, block.count, out);
}

std::optional<bool> Combination::MergeBF16(const TensorTerms& terms, const BF16Block& block) const {
  const size_t sources = terms.sources.size();
  if (terms.vectors.scope != VectorScope::kTensor || sources + 1 > kBF16SourcesMax) return std::nullopt;
  const std::byte* x[kBF16SourcesMax];
  float weights[kBF16SourcesMax];
  int count = 0;
  const bool task_vectors = block.base != nullptr && products_of() == ProductsOf::kTaskVectors;
  if (block.base != nullptr && !task_vectors) x[count] = block.base, weights[count++] = terms.base_weight;
  for (size_t s = 0; s < sources; ++s) x[count] = block.sources[s], weights[count++] = terms.sources[s].weight;
  if (task_vectors) return AddTaskVectorsBF16(block.base, x, weights, count, false, 1, 1, block.count, block.out);
  return WeightedSumBF16(x, weights, count, false, 1, block.count, block.out);
}

}  // namespace merganser
