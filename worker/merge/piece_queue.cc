#include "worker/merge/piece_queue.h"

#include <utility>

namespace merganser {
namespace {

// A consumer that has caught up sleeps until so many are there: waking it for each costs more than it does with one.
constexpr int64_t kWakeFor = 8;

}  // namespace

// Pages that are never used are never given.
PieceQueue::PieceQueue() : buffers_(std::make_unique_for_overwrite<std::byte[]>(kPiecesMax * kBufferBytes)) {}

bool PieceQueue::WaitForRoom(int64_t piece) {
  const absl::MutexLock lock(&mu_);
  const auto ready = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return closed_ || piece - next_ < kPiecesMax; };
  mu_.Await(absl::Condition(&ready));
  return piece - next_ < kPiecesMax;
}

void PieceQueue::Put(int64_t piece, absl::Span<const std::byte> bytes, std::shared_ptr<const void> owner) {
  const absl::MutexLock lock(&mu_);
  At(piece) = {bytes, std::move(owner)};
}

void PieceQueue::Flush(int64_t end) {
  const absl::MutexLock lock(&mu_);
  flushed_ = end;
}

void PieceQueue::AwaitTaken(int64_t piece) {
  const absl::MutexLock lock(&mu_);
  const auto taken = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return closed_ || next_ > piece || (next_ == piece && lent_);
  };
  mu_.Await(absl::Condition(&taken));
}

void PieceQueue::Close() {
  const absl::MutexLock lock(&mu_);
  closed_ = true;
}

void PieceQueue::Fail(absl::Status status) {
  const absl::MutexLock lock(&mu_);
  closed_ = true;
  status_ = std::move(status);
}

bool PieceQueue::WorthWaking() {
  return !status_.ok() || (There(next_) && (next_ < flushed_ || There(next_ + kWakeFor - 1)));
}

absl::StatusOr<absl::Span<const std::byte>> PieceQueue::Next() {
  Slot gone;  // what it owns dies without the lock
  const absl::MutexLock lock(&mu_);
  if (lent_) {
    gone = std::exchange(At(next_), Slot{});
    ++next_;
    lent_ = false;
  }
  if (!There(next_)) mu_.Await(absl::Condition(this, &PieceQueue::WorthWaking));
  if (!There(next_)) return status_;
  lent_ = true;
  return At(next_).bytes;
}

}  // namespace merganser
