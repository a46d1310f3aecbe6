// How fast the engine runs a checkpoint on this machine: `merganser bench`.
#ifndef MERGANSER_WORKER_EVALUATE_BENCH_H_
#define MERGANSER_WORKER_EVALUATE_BENCH_H_

#include <stop_token>

#include "absl/status/statusor.h"
#include "worker/evaluate/local_library.h"

namespace merganser {

// Random prompts, greedy, no end-of-sequence token, so that every sequence has the same length. InvalidArgument: a number
// below 1, or sequences longer than the model's positions.
absl::StatusOr<BenchResult> BenchModel(const BenchRequest& request, const LocalOptions& options, std::stop_token stop);

}  // namespace merganser

#endif  // MERGANSER_WORKER_EVALUATE_BENCH_H_
