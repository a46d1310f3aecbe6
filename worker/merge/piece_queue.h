// Finished pieces of a result on their way from the threads that compute them, in any order, to the one that takes them in
// theirs. A bounded number is under way at a time, in the same buffers again and again: fresh memory costs a page fault and
// zeroing.
#ifndef MERGANSER_WORKER_MERGE_PIECE_QUEUE_H_
#define MERGANSER_WORKER_MERGE_PIECE_QUEUE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"

namespace merganser {

// Pieces are numbered from 0 on, without a gap. Any number of threads put them, one takes them.
class PieceQueue {
 public:
  // Buffers of `buffer_bytes` for a piece each, `bytes` of them in all, or a few where that is less.
  PieceQueue(int64_t bytes, int64_t buffer_bytes);
  PieceQueue(const PieceQueue&) = delete;
  PieceQueue& operator=(const PieceQueue&) = delete;

  // Bytes of its buffers; they take memory as they are used.
  static int64_t BytesOf(int64_t bytes, int64_t buffer_bytes);
  // How many pieces may be under way.
  int64_t pieces_max() const { return pieces_max_; }

  // Waits until piece - pieces_max() has been given back. False: no more is wanted, and there is no room.
  bool WaitForRoom(int64_t piece) ABSL_LOCKS_EXCLUDED(mu_);
  // The piece's own buffer. REQUIRES: WaitForRoom(piece), until it is put.
  std::byte* Buffer(int64_t piece) { return buffers_.get() + piece % pieces_max_ * buffer_bytes_; }
  // `bytes`, not empty, live in the piece's buffer, or as long as `owner`. REQUIRES: WaitForRoom(piece).
  void Put(int64_t piece, absl::Span<const std::byte> bytes, std::shared_ptr<const void> owner = nullptr)
      ABSL_LOCKS_EXCLUDED(mu_);
  // Pieces below `end` are to be taken as they come: the consumer otherwise sleeps until there are several.
  void Flush(int64_t end) ABSL_LOCKS_EXCLUDED(mu_);
  // Waits until the consumer has taken `piece`, or no more is wanted.
  void AwaitTaken(int64_t piece) ABSL_LOCKS_EXCLUDED(mu_);
  // WaitForRoom gives no more room than there is.
  void Close() ABSL_LOCKS_EXCLUDED(mu_);
  // What Next returns behind the last piece in order; not OK. Closes.
  void Fail(absl::Status status) ABSL_LOCKS_EXCLUDED(mu_);

  // The next piece, valid until the next call, which gives it back.
  absl::StatusOr<absl::Span<const std::byte>> Next() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Slot {
    absl::Span<const std::byte> bytes;  // empty: not there
    std::shared_ptr<const void> owner;
  };

  Slot& At(int64_t piece) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return slots_[piece % pieces_max_]; }
  bool There(int64_t piece) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return !At(piece).bytes.empty(); }
  bool WorthWaking() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const int64_t buffer_bytes_;
  const int64_t pieces_max_;
  const std::unique_ptr<std::byte[]> buffers_;

  absl::Mutex mu_;
  std::vector<Slot> slots_ ABSL_GUARDED_BY(mu_);
  int64_t next_ ABSL_GUARDED_BY(mu_) = 0;   // of the consumer: what it has, or waits for
  bool lent_ ABSL_GUARDED_BY(mu_) = false;  // it has next_
  int64_t flushed_ ABSL_GUARDED_BY(mu_) = 0;
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
  absl::Status status_ ABSL_GUARDED_BY(mu_);
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_PIECE_QUEUE_H_
