// Cosines and sines of the rotary position embedding.
#ifndef MERGANSER_WORKER_ENGINE_ROPE_TABLE_H_
#define MERGANSER_WORKER_ENGINE_ROPE_TABLE_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/checkpoint/model_config.h"

namespace merganser {

// Row p holds the head_dim/2 values of position p; both halves of a head use the same row.
// Immutable.
struct RopeTable {
  int64_t half = 0;        // head_dim / 2
  std::vector<float> cos;  // [positions, half]
  std::vector<float> sin;  // [positions, half]
};

// The table for positions 0 .. positions-1, in fp32 as transformers computes it. Scaling: default,
// linear, llama3; Unimplemented, naming the type, for dynamic and yarn.
absl::StatusOr<RopeTable> MakeRopeTable(const ModelConfig& config, int64_t positions);

}  // namespace merganser

#endif  // MERGANSER_WORKER_ENGINE_ROPE_TABLE_H_
