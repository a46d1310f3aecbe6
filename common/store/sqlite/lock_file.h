// An exclusive lock on a file, which also says who holds it.
#ifndef MERGANSER_COMMON_STORE_SQLITE_LOCK_FILE_H_
#define MERGANSER_COMMON_STORE_SQLITE_LOCK_FILE_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace merganser {

// Held (flock) from Acquire to destruction, or until the process dies however it dies. The file
// itself stays: removing it would let two openers lock two files of one name.
class LockFile {
 public:
  // FailedPrecondition if another holds it: the message names `what` and the holder's pid, host and
  // start. `now` is written into the file for that purpose. Else as ErrnoStatus (no such folder, no
  // permission, disk full).
  static absl::StatusOr<std::unique_ptr<LockFile>> Acquire(const std::string& path, absl::string_view what, absl::Time now);
  ~LockFile();
  LockFile(const LockFile&) = delete;
  LockFile& operator=(const LockFile&) = delete;

 private:
  explicit LockFile(int fd) : fd_(fd) {}
  const int fd_;
};

// OK unless `file_system_type` (statfs f_type of the folder that holds `path`) is one shared
// between hosts (NFS, SMB): FailedPrecondition, because SQLite's WAL needs shared memory of one
// host.
absl::Status CheckLocalFileSystem(absl::string_view path, int64_t file_system_type);

}  // namespace merganser

#endif  // MERGANSER_COMMON_STORE_SQLITE_LOCK_FILE_H_
