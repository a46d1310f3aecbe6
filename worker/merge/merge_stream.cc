#include "worker/merge/merge_stream.h"

#include <cstdint>
#include <optional>
#include <utility>

#include "worker/checkpoint/dtype.h"
#include "worker/merge/source_facts.h"

namespace merganser {
namespace {

// A batch's runs as pieces of the whole.
class QueuedRuns final : public RunSink {
 public:
  QueuedRuns(PieceQueue& queue, int64_t first) : queue_(queue), first_(first) {}

  std::byte* Room(int64_t run) override { return queue_.WaitForRoom(first_ + run) ? queue_.Buffer(first_ + run) : nullptr; }
  void Put(int64_t run, int64_t bytes) override {
    queue_.Put(first_ + run, {queue_.Buffer(first_ + run), static_cast<size_t>(bytes)});
  }
  void Fail(int64_t /*run*/) override { queue_.Close(); }

 private:
  PieceQueue& queue_;
  const int64_t first_;
};

}  // namespace

MergeStream::MergeStream(const RecipePlan& plan, std::stop_token stop)
    : plan_(plan),
      stop_(std::move(stop)),
      queue_(plan.batch_bytes(), kRunElements * SizeOf(ParseConfigDType(plan.recipe().dtype).value_or(DType::kF32))),
      producer_([this](std::stop_token ended) { Produce(ended); }) {}

MergeStream::~MergeStream() {
  producer_.request_stop();
  queue_.Close();
}

void MergeStream::Produce(std::stop_token ended) {
  // One token for both: the merge was cancelled, or nobody wants its rest.
  std::stop_source either;
  const std::stop_callback by_user(stop_, [&] { either.request_stop(); });
  const std::stop_callback by_end(ended, [&] { either.request_stop(); });
  MergeMemory memory(plan_.threads());
  int64_t pieces = 0;
  for (const RecipePlan::Batch& batch : plan_.batches()) {
    if (const std::optional<int64_t> runs = plan_.RunsOf(batch)) {
      QueuedRuns sink(queue_, pieces);
      const absl::Status status = plan_.Stream(batch, memory, sink, either.get_token());
      if (!status.ok()) return queue_.Fail(status);
      pieces += *runs;
      queue_.Flush(pieces);
      continue;
    }
    absl::StatusOr<RecipePlan::Result> result = plan_.Compute(batch, memory, either.get_token());
    if (!result.ok()) return queue_.Fail(result.status());
    const int64_t first = pieces;
    for (size_t i = 0; i < result->bytes.size(); ++i) {
      if (result->bytes[i].empty()) continue;
      if (!queue_.WaitForRoom(pieces)) return;
      queue_.Put(pieces++, result->bytes[i], std::move(result->owners[i]));
      queue_.Flush(pieces);
    }
    if (pieces > first) queue_.AwaitTaken(first);
  }
}

}  // namespace merganser
