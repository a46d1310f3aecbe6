// The endpoint over a checkpoint: `merganser serve`.
#ifndef MERGANSER_WORKER_EVALUATE_SERVE_H_
#define MERGANSER_WORKER_EVALUATE_SERVE_H_

#include <stop_token>

#include "absl/status/status.h"
#include "worker/evaluate/local_library.h"

namespace merganser {

// LocalLibrary::Serve. The engine runs on the calling thread.
absl::Status ServeModel(const ServeRequest& request, const LocalOptions& options, std::stop_token stop);

}  // namespace merganser

#endif  // MERGANSER_WORKER_EVALUATE_SERVE_H_
