// The tensors that an architecture is made of.
#ifndef MERGANSER_WORKER_CHECKPOINT_ARCHITECTURE_TENSORS_H_
#define MERGANSER_WORKER_CHECKPOINT_ARCHITECTURE_TENSORS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "worker/checkpoint/model_config.h"

namespace merganser {

struct ExpectedTensor {
  std::string name;
  std::vector<int64_t> shape;
};

// Every tensor that a checkpoint with this config must hold, embedding first, then layer by layer,
// then norm and (unless it is tied to the embedding) lm_head. Projections are [out, in].
std::vector<ExpectedTensor> ArchitectureTensors(const ModelConfig& config);

}  // namespace merganser

#endif  // MERGANSER_WORKER_CHECKPOINT_ARCHITECTURE_TENSORS_H_
