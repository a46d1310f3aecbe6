// One prompt through one checkpoint: `merganser generate`.
#ifndef MERGANSER_WORKER_EVALUATE_GENERATE_H_
#define MERGANSER_WORKER_EVALUATE_GENERATE_H_

#include <stop_token>

#include "absl/status/statusor.h"
#include "worker/evaluate/local_library.h"

namespace merganser {

// InvalidArgument: a prompt that with its new tokens exceeds the model's positions, a system text without chat, a decoding
// setting out of range, beams together with a temperature.
absl::StatusOr<GenerateResult> GenerateOnce(const GenerateRequest& request, const LocalOptions& options,
                                            std::stop_token stop);

}  // namespace merganser

#endif  // MERGANSER_WORKER_EVALUATE_GENERATE_H_
