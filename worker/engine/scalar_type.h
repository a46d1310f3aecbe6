// What ATen calls the types of checkpoints.
#ifndef MERGANSER_WORKER_ENGINE_SCALAR_TYPE_H_
#define MERGANSER_WORKER_ENGINE_SCALAR_TYPE_H_

#include <ATen/ATen.h>

#include "worker/checkpoint/dtype.h"

namespace merganser {

// `dtype` must be a floating-point type.
inline at::ScalarType ScalarTypeOf(DType dtype) {
  switch (dtype) {
    case DType::kBF16:
      return at::kBFloat16;
    case DType::kF16:
      return at::kHalf;
    case DType::kF64:
      return at::kDouble;
    default:
      return at::kFloat;
  }
}

}  // namespace merganser

#endif  // MERGANSER_WORKER_ENGINE_SCALAR_TYPE_H_
