// A recipe's tensors one after the other, computed while the ones before are being written.
#ifndef MERGANSER_WORKER_MERGE_MERGE_STREAM_H_
#define MERGANSER_WORKER_MERGE_MERGE_STREAM_H_

#include <cstddef>
#include <stop_token>
#include <thread>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "worker/merge/piece_queue.h"
#include "worker/merge/recipe_plan.h"

namespace merganser {

// What is merged comes through the buffers of a PieceQueue, a batch's worth of bytes, as soon as it is there; of what
// RecipePlan::Stream cannot compute, at most two batches are in memory: the consumer's, and the one that is computed
// meanwhile. One consumer; the plan must outlive the stream.
class MergeStream {
 public:
  // `stop` ends the computation early; Next then returns Cancelled.
  MergeStream(const RecipePlan& plan, std::stop_token stop);
  ~MergeStream();
  MergeStream(const MergeStream&) = delete;
  MergeStream& operator=(const MergeStream&) = delete;

  // The next bytes of plan.tensors(): never none, and of one tensor; valid until the next call. The errors of
  // RecipePlan::Compute. REQUIRES: bytes are left; not called after an error.
  absl::StatusOr<absl::Span<const std::byte>> Next() { return queue_.Next(); }

 private:
  void Produce(std::stop_token ended);

  const RecipePlan& plan_;
  const std::stop_token stop_;
  PieceQueue queue_;
  std::jthread producer_;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_MERGE_STREAM_H_
