#include "worker/merge/piece_queue.h"

#include <algorithm>
#include <utility>

namespace merganser {
namespace {

// A consumer that has caught up sleeps until so many are there: waking it for each costs more than it does with one.
constexpr int64_t kWakeFor = 8;

}  // namespace

int64_t PieceQueue::BytesOf(int64_t bytes, int64_t buffer_bytes) {
  return std::max(bytes / buffer_bytes, 2 * kWakeFor) * buffer_bytes;  // some to write, some to be computed meanwhile
}

// Pages that are never used are never given.
PieceQueue::PieceQueue(int64_t bytes, int64_t buffer_bytes)
    : buffer_bytes_(buffer_bytes),
      pieces_max_(BytesOf(bytes, buffer_bytes) / buffer_bytes),
      buffers_(std::make_unique_for_overwrite<std::byte[]>(pieces_max_ * buffer_bytes_)),
      slots_(pieces_max_) {}

bool PieceQueue::WaitForRoom(int64_t piece) {
  const absl::MutexLock lock(&mu_);
  const auto ready = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return closed_ || piece - next_ < pieces_max_; };
  mu_.Await(absl::Condition(&ready));
  return piece - next_ < pieces_max_;
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
