// Following a job until it ends or a condition holds.
#ifndef MERGANSER_CLIENT_WATCH_H_
#define MERGANSER_CLIENT_WATCH_H_

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "client/interrupt.h"
#include "client/job_reader.h"

namespace merganser {

enum class WatchDisplay { kProgress, kNothing };

// What `wait --for` waits for.
struct WaitCondition {
  std::string state;                    // "succeeded", "search", ...; "": the end, and success is asked of it
  std::optional<double> best_at_least;  // instead of a state

  // "state=succeeded" (or the bare word) and "best>=0.5". InvalidArgument with the known words
  // otherwise.
  static absl::StatusOr<WaitCondition> Parse(absl::string_view text);
  // kOk or kJobFailed once the outcome is known; nullopt: go on.
  std::optional<int> Outcome(const v1::Job& job) const;
};

// Exit code of the outcome; DeadlineExceeded at `deadline`. Ctrl-C detaches: the job goes on, exit code as of the signal.
// `interrupt`: made before `reader` was opened, because gRPC starts threads.
absl::StatusOr<int> WatchJob(JobReader& reader, const Interrupt& interrupt, const std::string& job, WatchDisplay display,
                             const WaitCondition& condition = {}, absl::Time deadline = absl::InfiniteFuture());

}  // namespace merganser

#endif  // MERGANSER_CLIENT_WATCH_H_
