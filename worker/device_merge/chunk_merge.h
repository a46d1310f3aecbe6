// The arithmetic of merge methods on chunks of a tensor as ATen operations: on any device, operation by operation that of
// worker/merge (each rounded on its own, sums in the same order), so that the bits are the same wherever a device rounds as
// IEEE 754 says.
#ifndef MERGANSER_WORKER_DEVICE_MERGE_CHUNK_MERGE_H_
#define MERGANSER_WORKER_DEVICE_MERGE_CHUNK_MERGE_H_

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "worker/merge/merge_method.h"
#include "worker/merge/merge_plan.h"

namespace merganser {

// True if MergeChunk knows the plan's method with its settings. Those it does not (methods of rows and vectors within a
// tensor, sce, ram, nearswap, arcee_fusion, passthrough with a scale; mergekit's arithmetic) are the CPU's.
bool MergesInChunks(const MergePlan& plan);

// True if all masks that the tensor's terms need are known or can be drawn without ranks.
bool HasItsMasks(const TensorTerms& terms);

// One run of elements of a tensor, in fp32 on the device. The sources may be overwritten.
struct Chunk {
  int64_t first = 0;  // row-major index of the first element; a multiple of 8
  at::Tensor base;    // undefined for merges without a base
  std::vector<at::Tensor> sources;
};

// The merged values, fp32. REQUIRES: MergesInChunks(), HasItsMasks(). Torch may throw.
at::Tensor MergeChunk(const MergeMethod& method, const TensorTerms& terms, Chunk chunk);

}  // namespace merganser

#endif  // MERGANSER_WORKER_DEVICE_MERGE_CHUNK_MERGE_H_
