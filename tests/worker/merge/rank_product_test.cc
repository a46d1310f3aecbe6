#include "worker/merge/rank_product.h"

#include <vector>

#include "gtest/gtest.h"

namespace merganser {
namespace {

std::vector<float> Values(int64_t count, uint32_t state) {
  std::vector<float> values;
  for (int64_t i = 0; i < count; ++i) {
    state = state * 1664525u + 1013904223u;
    values.push_back(static_cast<float>(static_cast<int32_t>(state)) * 0x1p-31f);
  }
  return values;
}

// Sizes on both sides of the tiles' and of the parts', and whatever the threads.
TEST(RankProductTest, EachElementAddsItsProductsInTheirOrder) {
  constexpr float kScale = 0.3f;
  for (const int64_t rows : {1, 4, 63, 70, 131}) {
    for (const int64_t columns : {1, 31, 32, 65, 100}) {
      for (const int64_t rank : {1, 3, 16}) {
        const std::vector<float> left = Values(rows * rank, 1), right = Values(rank * columns, 2);
        std::vector<float> want = Values(rows * columns, 3);
        for (int64_t i = 0; i < rows; ++i) {
          for (int64_t k = 0; k < rank; ++k) {
            const float factor = kScale * left[i * rank + k];
            for (int64_t j = 0; j < columns; ++j) {
              const volatile float product = factor * right[k * columns + j];  // rounded by itself
              want[i * columns + j] += product;
            }
          }
        }
        for (const int threads : {1, 3}) {
          ThreadPool pool(threads);
          std::vector<float> weights = Values(rows * columns, 3);
          AddRankProduct(left.data(), right.data(), rows, rank, columns, kScale, weights.data(), pool);
          EXPECT_EQ(weights, want) << rows << " x " << columns << ", rank " << rank << ", " << threads << " threads";
        }
      }
    }
  }
}

}  // namespace
}  // namespace merganser
