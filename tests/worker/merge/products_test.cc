#include "worker/merge/products.h"

#include "gtest/gtest.h"
#include "tests/worker/merge/merge_models.h"

namespace merganser {
namespace {

using testing_merge::Gaussian;
using testing_merge::Values;

FloatTensor View(const Values& values) {
  return {DType::kF32, reinterpret_cast<const std::byte*>(values.data()), static_cast<int64_t>(values.size())};
}

TEST(VectorShapeTest, SaysWhichVectorAnElementBelongsTo) {
  const VectorShape rows = VectorShape::For(VectorScope::kLastDimension, {3, 4, 5});
  EXPECT_EQ(rows.vectors, 12);
  EXPECT_EQ(rows.length, 5);
  EXPECT_EQ(rows.VectorOf(14), 2);
  const VectorShape columns = VectorShape::For(VectorScope::kFirstDimension, {3, 4, 5});
  EXPECT_EQ(columns.vectors, 20);
  EXPECT_EQ(columns.length, 3);
  EXPECT_EQ(columns.VectorOf(43), 3);
}

TEST(VectorShapeTest, VectorsAndEmptyTensorsAreOneVector) {
  for (const VectorScope scope : {VectorScope::kTensor, VectorScope::kLastDimension, VectorScope::kFirstDimension}) {
    EXPECT_EQ(VectorShape::For(scope, {7}).vectors, 1);
    EXPECT_EQ(VectorShape::For(scope, {7}).length, 7);
    EXPECT_EQ(VectorShape::For(scope, {}).length, 1);
    EXPECT_EQ(VectorShape::For(scope, {0, 4}).vectors, 1);
  }
}

TEST(ProductsTest, OfWholeTensorsAndOfTheirVectorsAgreeWithTheDefinition) {
  const std::vector<int64_t> shape = {37, 61};
  const int64_t n = 37 * 61;
  const Values base = Gaussian(n, 1), a = Gaussian(n, 2), b = Gaussian(n, 3);
  const std::vector<FloatTensor> tensors = {View(a), View(b)};
  const FloatTensor subtract = View(base);
  std::vector<float> scratch(3 * kProductBlock);
  for (const VectorScope scope : {VectorScope::kTensor, VectorScope::kLastDimension, VectorScope::kFirstDimension}) {
    const VectorShape of = VectorShape::For(scope, shape);
    std::vector<double> want(3 * of.vectors), sums(3 * of.vectors);
    for (int64_t i = 0; i < n; ++i) {
      const double x = a[i] - base[i], y = b[i] - base[i];
      double* own = want.data() + 3 * of.VectorOf(i);
      own[0] += x * x;
      own[1] += x * y;
      own[2] += y * y;
    }
    if (scope == VectorScope::kTensor) {
      AddProducts(tensors, &subtract, 0, n, scratch.data(), sums.data());
    } else {
      const int64_t half = of.vectors / 2;
      VectorProducts(tensors, &subtract, of, 0, half, scratch.data(), sums.data());
      VectorProducts(tensors, &subtract, of, half, of.vectors - half, scratch.data(), sums.data() + 3 * half);
    }
    for (size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(sums[i], want[i], 1e-5 * n / of.vectors) << i;
  }
}

TEST(ProductsTest, TheTriangleIsReadBothWays) {
  const double values[] = {1, 2, 3, 4, 5, 6};
  const Products products{3, values};
  EXPECT_EQ(products.At(0, 2), 3);
  EXPECT_EQ(products.At(2, 0), 3);
  EXPECT_EQ(products.At(1, 1), 4);
  EXPECT_EQ(products.At(1, 2), 5);
  EXPECT_EQ(products.At(2, 2), 6);
  EXPECT_EQ(Products::Size(3), 6);
}

}  // namespace
}  // namespace merganser
