// How many sequences the key-value cache has room for.
#ifndef MERGANSER_WORKER_ENGINE_SLOT_COUNT_H_
#define MERGANSER_WORKER_ENGINE_SLOT_COUNT_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "worker/checkpoint/model_config.h"

namespace merganser {

// What the cache may take.
struct CacheBound {
  int64_t bytes = 0;
  std::string origin;  // what sets the bound, for messages
};

// What a device with `free_bytes` has for the cache, beside one candidate's weights and a step of `batch_tokens` tokens in a
// type of `element_bytes`. A tenth stays free: what sources and a second arena take, they ask for later.
CacheBound DeviceCacheBound(const ModelConfig& config, int64_t free_bytes, int64_t element_bytes, int64_t batch_tokens);

// `wanted` sequences, or as many as have a slot of `slot_bytes` beside the shared prefix's. ResourceExhausted: not one, for
// want of two slots of `positions` positions.
absl::StatusOr<int> SequencesThatFit(int wanted, int64_t slot_bytes, int64_t positions, const CacheBound& bound);

}  // namespace merganser

#endif  // MERGANSER_WORKER_ENGINE_SLOT_COUNT_H_
