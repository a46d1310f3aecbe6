// Whether a device's flash attention computes what this engine asks of it.
#ifndef MERGANSER_WORKER_ENGINE_FLASH_CHECK_H_
#define MERGANSER_WORKER_ENGINE_FLASH_CHECK_H_

#include <ATen/ATen.h>

#include <cstdint>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "worker/engine/aten_attention.h"

namespace merganser {

// As Attend.
using AttendFunction =
    absl::FunctionRef<at::Tensor(const at::Tensor& q, const at::Tensor& cache, const AttentionPlan& plan, int64_t window)>;

// Runs `attend` by tables over a small cache of `options` (a two-byte type, its device) with heads of the model's shape:
// prompts' pieces and single tokens, in slots of any order, with and without a window, padded as a recorded step is, while
// positions that nobody wrote hold NaN. The results are held to fp32 attention on the CPU. Internal: one differs by more
// than rounding, and which; or what the kernel threw. ResourceExhausted: no memory. Takes some tenths of a second, on any
// thread.
absl::Status CheckFlashAttention(const at::TensorOptions& options, int64_t heads, int64_t kv_heads, int64_t head_dim,
                                 AttendFunction attend = Attend);

}  // namespace merganser

#endif  // MERGANSER_WORKER_ENGINE_FLASH_CHECK_H_
