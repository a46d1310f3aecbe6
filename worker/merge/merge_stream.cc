#include "worker/merge/merge_stream.h"

#include <utility>

#include "common/base/status_macros.h"

namespace merganser {

MergeStream::MergeStream(const RecipePlan& plan, std::stop_token stop)
    : plan_(plan), stop_(std::move(stop)), producer_([this](std::stop_token ended) { Produce(ended); }) {}

MergeStream::~MergeStream() {
  producer_.request_stop();
  const absl::MutexLock lock(&mu_);
  ending_ = true;
}

void MergeStream::Produce(std::stop_token ended) {
  // One token for both: the merge was cancelled, or nobody wants its rest.
  std::stop_source either;
  const std::stop_callback by_user(stop_, [&] { either.request_stop(); });
  const std::stop_callback by_end(ended, [&] { either.request_stop(); });
  MergeMemory memory(plan_.threads());
  for (const RecipePlan::Batch& batch : plan_.batches()) {
    absl::StatusOr<RecipePlan::Result> result = plan_.Compute(batch, memory, either.get_token());
    const bool failed = !result.ok();
    const absl::MutexLock lock(&mu_);
    mu_.Await(absl::Condition(this, &MergeStream::Wanted));
    if (ending_) return;
    ready_ = std::move(result);
    if (failed) return;
    // The next batch is begun once this one is the consumer's.
    mu_.Await(absl::Condition(this, &MergeStream::Wanted));
    if (ending_) return;
  }
}

absl::StatusOr<absl::Span<const std::byte>> MergeStream::Next() {
  if (next_ > 0) current_.owners[next_ - 1] = nullptr;  // pages and buffers go as soon as they can
  if (next_ == current_.bytes.size()) {
    current_ = {};
    next_ = 0;
    const absl::MutexLock lock(&mu_);
    mu_.Await(absl::Condition(this, &MergeStream::Ready));
    absl::StatusOr<RecipePlan::Result> result = std::move(*ready_);
    ready_.reset();
    MG_RETURN_IF_ERROR(result.status());
    current_ = *std::move(result);
  }
  return current_.bytes[next_++];
}

}  // namespace merganser
