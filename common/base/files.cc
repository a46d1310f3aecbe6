#include "common/base/files.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace merganser {

absl::Status ErrnoStatus(int error, absl::string_view what, absl::string_view path) {
  const std::string text = absl::StrCat(what, " '", path, "': ", strerror(error));
  switch (error) {
    case ENOSPC:
    case EDQUOT:
      return absl::ResourceExhaustedError(text);
    case ENOENT:
    case ENOTDIR:
      return absl::NotFoundError(text);
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::PermissionDeniedError(text);
    default:
      return absl::UnavailableError(text);
  }
}

absl::StatusOr<std::string> ReadFile(const std::string& path, int64_t max_bytes) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return ErrnoStatus(errno, "cannot open", path);
  struct stat info;
  if (fstat(fd, &info) != 0 || S_ISDIR(info.st_mode)) {
    close(fd);
    return absl::InvalidArgumentError(absl::StrCat("'", path, "' is a folder, not a file"));
  }
  if (info.st_size > max_bytes) {
    close(fd);
    return absl::InvalidArgumentError(absl::StrCat("'", path, "' has ", info.st_size, " bytes, more than ", max_bytes));
  }
  // What is no file (a pipe, a terminal) says only by its end how long it is.
  constexpr size_t kPiece = 65536;
  const bool endless = !S_ISREG(info.st_mode);
  std::string bytes;
  bytes.resize(endless ? kPiece : static_cast<size_t>(info.st_size));
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = read(fd, bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      const int error = errno;
      close(fd);
      return absl::DataLossError(absl::StrCat("cannot read '", path, "': ", strerror(error)));
    }
    if (n == 0) break;
    done += static_cast<size_t>(n);
    if (static_cast<int64_t>(done) > max_bytes) {
      close(fd);
      return absl::InvalidArgumentError(absl::StrCat("'", path, "' has more than ", max_bytes, " bytes"));
    }
    if (endless && done == bytes.size()) bytes.resize(2 * bytes.size());
  }
  close(fd);
  bytes.resize(done);
  return bytes;
}

absl::Status WriteFileAtomically(const std::string& path, absl::string_view bytes) {
  const std::string temporary = absl::StrCat(path, ".tmp-", getpid());
  const int fd = open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return ErrnoStatus(errno, "cannot create", temporary);
  auto fail = [&](absl::string_view what) {
    const int error = errno;
    close(fd);
    unlink(temporary.c_str());
    return ErrnoStatus(error, what, path);
  };
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = write(fd, bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail("cannot write");
    done += static_cast<size_t>(n);
  }
  if (fsync(fd) != 0) return fail("cannot sync");
  if (close(fd) != 0 || rename(temporary.c_str(), path.c_str()) != 0) {
    const int error = errno;
    unlink(temporary.c_str());
    return ErrnoStatus(error, "cannot rename to", path);
  }
  return absl::OkStatus();
}

}  // namespace merganser
