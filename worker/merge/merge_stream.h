// A recipe's tensors one after the other, computed while the ones before are being written.
#ifndef MERGANSER_WORKER_MERGE_MERGE_STREAM_H_
#define MERGANSER_WORKER_MERGE_MERGE_STREAM_H_

#include <optional>
#include <stop_token>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "worker/merge/recipe_plan.h"

namespace merganser {

// At most two batches of the plan are in memory: the consumer's, and the one that a thread of the
// stream's own computes meanwhile. One consumer; the plan must outlive the stream.
class MergeStream {
 public:
  // `stop` ends the computation early; Next then returns Cancelled.
  MergeStream(const RecipePlan& plan, std::stop_token stop);
  ~MergeStream();
  MergeStream(const MergeStream&) = delete;
  MergeStream& operator=(const MergeStream&) = delete;

  // The bytes of the next tensor of plan.tensors(), valid until the next call. The errors of
  // RecipePlan::Compute. REQUIRES: called at most plan.tensors().size() times, and not after an error.
  absl::StatusOr<absl::Span<const std::byte>> Next() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  void Produce(std::stop_token ended) ABSL_LOCKS_EXCLUDED(mu_);
  bool Ready() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return ready_.has_value(); }
  bool Wanted() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return ending_ || !ready_.has_value(); }

  const RecipePlan& plan_;
  const std::stop_token stop_;
  // Of the consumer.
  RecipePlan::Result current_;
  size_t next_ = 0;

  absl::Mutex mu_;
  bool ending_ ABSL_GUARDED_BY(mu_) = false;
  std::optional<absl::StatusOr<RecipePlan::Result>> ready_ ABSL_GUARDED_BY(mu_);

  std::jthread producer_;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_MERGE_STREAM_H_
