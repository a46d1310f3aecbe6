#include "worker/merge/rank_product.h"

#include <algorithm>
#include <cstring>

#include "worker/merge/multiversion.h"

namespace merganser {
namespace {

// A tile of the result stays in registers while its products are added.
constexpr int kLanes = 16, kTileRows = 4, kTileVectors = 2;
constexpr int64_t kTileColumns = kLanes * kTileVectors;
constexpr int64_t kRowsAtOnce = 64;  // of one thread: `right` is read from the caches

using Lanes = float __attribute__((vector_size(kLanes * sizeof(float))));

// One vector at a time, so that the compiler keeps a tile's vectors in registers.
inline void Load(const float* from, Lanes& lanes) { std::memcpy(&lanes, from, sizeof(lanes)); }
inline void Store(const Lanes& lanes, float* to) { std::memcpy(to, &lanes, sizeof(lanes)); }

struct Product {
  const float* left;
  const float* right;
  int64_t rank, columns;
  float scale;
  float* weights;
};

// One row from column `first` on.
MG_MULTIVERSION void AddRow(const Product& p, int64_t row, int64_t first) {
  float* const out = p.weights + row * p.columns;
  for (int64_t k = 0; k < p.rank; ++k) {
    const float factor = p.scale * p.left[row * p.rank + k];
    const float* const other = p.right + k * p.columns;
    for (int64_t j = first; j < p.columns; ++j) out[j] += factor * other[j];
  }
}

// kTileRows rows from `row` on, of the columns that fill tiles.
MG_MULTIVERSION void AddTiles(const Product& p, int64_t row) {
  for (int64_t column = 0; column + kTileColumns <= p.columns; column += kTileColumns) {
    float* const out = p.weights + row * p.columns + column;
    Lanes sum[kTileRows][kTileVectors];
    for (int r = 0; r < kTileRows; ++r) {
      for (int v = 0; v < kTileVectors; ++v) Load(out + r * p.columns + v * kLanes, sum[r][v]);
    }
    for (int64_t k = 0; k < p.rank; ++k) {
      Lanes other[kTileVectors];
      for (int v = 0; v < kTileVectors; ++v) Load(p.right + k * p.columns + column + v * kLanes, other[v]);
      for (int r = 0; r < kTileRows; ++r) {
        const float factor = p.scale * p.left[(row + r) * p.rank + k];
        for (int v = 0; v < kTileVectors; ++v) sum[r][v] += factor * other[v];
      }
    }
    for (int r = 0; r < kTileRows; ++r) {
      for (int v = 0; v < kTileVectors; ++v) Store(sum[r][v], out + r * p.columns + v * kLanes);
    }
  }
}

}  // namespace

void AddRankProduct(const float* left, const float* right, int64_t rows, int64_t rank, int64_t columns, float scale,
                    float* weights, ThreadPool& pool) {
  const Product product{left, right, rank, columns, scale, weights};
  const int64_t tiled = columns / kTileColumns * kTileColumns;
  pool.For((rows + kRowsAtOnce - 1) / kRowsAtOnce, [&](int, int64_t part) {
    int64_t row = part * kRowsAtOnce;
    const int64_t end = std::min(rows, row + kRowsAtOnce);
    for (; row + kTileRows <= end; row += kTileRows) {
      AddTiles(product, row);
      for (int r = 0; r < kTileRows && tiled < columns; ++r) AddRow(product, row + r, tiled);
    }
    for (; row < end; ++row) AddRow(product, row, 0);
  });
}

}  // namespace merganser
