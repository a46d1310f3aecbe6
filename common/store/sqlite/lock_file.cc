#include "common/store/sqlite/lock_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/files.h"

namespace merganser {
namespace {

// linux/magic.h; spelt out because not every kernel's header has all of them.
constexpr int64_t kNfs = 0x6969;
constexpr int64_t kSmb = 0x517b;
constexpr int64_t kSmb2 = 0xfe534d42;
constexpr int64_t kCifs = 0xff534d42;

}  // namespace

absl::StatusOr<std::unique_ptr<LockFile>> LockFile::Acquire(const std::string& path, absl::string_view what,
                                                            absl::Time now) {
  // CLOEXEC: a child program must not go on holding the lock after us.
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return ErrnoStatus(errno, "cannot open lock file", path);
  std::unique_ptr<LockFile> lock(new LockFile(fd));
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return ErrnoStatus(errno, "cannot lock", path);
    char holder[512];
    const ssize_t n = pread(fd, holder, sizeof holder, 0);
    const absl::string_view text = n > 0 ? absl::StripSuffix(absl::string_view(holder, n), "\n") : "another process";
    return absl::FailedPreconditionError(absl::StrCat(what, " is in use by ", text, " (lock file '", path,
                                                      "'); only one process may write it, others open it for reading"));
  }
  char host[256] = "unknown host";
  gethostname(host, sizeof host - 1);
  const std::string text = absl::StrCat("pid ", getpid(), " on ", host, " since ",
                                        absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", now, absl::UTCTimeZone()), "\n");
  if (ftruncate(fd, 0) != 0 || pwrite(fd, text.data(), text.size(), 0) != static_cast<ssize_t>(text.size())) {
    return ErrnoStatus(errno, "cannot write lock file", path);
  }
  return lock;
}

LockFile::~LockFile() { close(fd_); }

absl::Status CheckLocalFileSystem(absl::string_view path, int64_t file_system_type) {
  const char* name = nullptr;
  switch (file_system_type & 0xffffffff) {  // f_type is signed on some machines
    case kNfs:
      name = "NFS";
      break;
    case kSmb:
    case kSmb2:
    case kCifs:
      name = "SMB";
      break;
    default:
      return absl::OkStatus();
  }
  return absl::FailedPreconditionError(absl::StrCat(
      "sqlite:", path, ": is on ", name, ", and SQLite needs a local disk; use a local path or a redis:// store"));
}

}  // namespace merganser
