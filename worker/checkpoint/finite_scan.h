// Search for NaN and infinity in a tensor's bytes.
#ifndef MERGANSER_WORKER_CHECKPOINT_FINITE_SCAN_H_
#define MERGANSER_WORKER_CHECKPOINT_FINITE_SCAN_H_

#include <cstdint>
#include <optional>

#include "worker/checkpoint/tensor_view.h"

namespace merganser {

// The row-major index of the first element that is NaN or infinite; nullopt if there is none or the
// type is not a floating-point type. One pass over the bytes; any alignment.
std::optional<int64_t> FirstNonFinite(const TensorView& tensor);

// True if the element at `index`, which FirstNonFinite gave, is a NaN rather than an infinity.
bool IsNaN(const TensorView& tensor, int64_t index);

}  // namespace merganser

#endif  // MERGANSER_WORKER_CHECKPOINT_FINITE_SCAN_H_
