// Torch throws; we do not. Every call into ATen runs inside CatchTorch, which turns what is thrown
// into a Status.
#ifndef MERGANSER_WORKER_ENGINE_TORCH_STATUS_H_
#define MERGANSER_WORKER_ENGINE_TORCH_STATUS_H_

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace merganser {

// Runs `body`; the message starts with "what: ". Out of memory: ResourceExhausted; index, value and
// type errors: InvalidArgument; not implemented: Unimplemented; other errors of torch and of the
// standard library: Internal, with the full text in the log. A failed CUDA device stays failed
// (Internal): drain and restart.
absl::Status CatchTorch(absl::string_view what, absl::FunctionRef<void()> body);

// The same for a body that has a Status of its own.
absl::Status CatchTorchStatus(absl::string_view what, absl::FunctionRef<absl::Status()> body);

}  // namespace merganser

#endif  // MERGANSER_WORKER_ENGINE_TORCH_STATUS_H_
