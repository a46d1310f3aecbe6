// A bar for long writes: bytes, speed and time left, on a terminal only.
#ifndef MERGANSER_CLIENT_BYTE_PROGRESS_H_
#define MERGANSER_CLIENT_BYTE_PROGRESS_H_

#include <cstdint>
#include <ostream>
#include <string>

#include "absl/time/time.h"
#include "client/output.h"

namespace merganser {

// Not thread-safe.
class ByteProgress {
 public:
  // `out` outlives it; nothing is drawn unless `terminal.interactive`.
  ByteProgress(std::ostream& out, const Terminal& terminal) : out_(out), terminal_(terminal) {}
  // Clear().
  ~ByteProgress() { Clear(); }

  // `elapsed`: since the work began. Redraws at most ten times a second.
  void Update(int64_t done, int64_t total, absl::Duration elapsed);
  void Clear();

  // "writing [######....]  1.2 GiB of 2.0 GiB  410.0 MiB/s  ETA 2.0s".
  static std::string Bar(int64_t done, int64_t total, absl::Duration elapsed);

 private:
  std::ostream& out_;
  const Terminal terminal_;
  absl::Duration drawn_at_ = -absl::InfiniteDuration();
  bool drawn_ = false;
};

}  // namespace merganser

#endif  // MERGANSER_CLIENT_BYTE_PROGRESS_H_
