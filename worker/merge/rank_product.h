// Products of two thin matrices, as adapters store the change of a weight matrix.
#ifndef MERGANSER_WORKER_MERGE_RANK_PRODUCT_H_
#define MERGANSER_WORKER_MERGE_RANK_PRODUCT_H_

#include <cstdint>

#include "worker/merge/thread_pool.h"

namespace merganser {

// weights [rows, columns] += scale * left [rows, rank] * right [rank, columns], all row-major. Each element adds its `rank`
// products in their order, every operation rounded on its own: the same bits on every instruction set, whatever the threads.
void AddRankProduct(const float* left, const float* right, int64_t rows, int64_t rank, int64_t columns, float scale,
                    float* weights, ThreadPool& pool);

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_RANK_PRODUCT_H_
