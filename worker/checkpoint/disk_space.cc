#include "worker/checkpoint/disk_space.h"

#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>

#include <limits>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"

namespace merganser {

absl::StatusOr<int64_t> FreeBytes(const std::string& path) {
  struct statvfs info;
  if (statvfs(path.c_str(), &info) != 0) return ErrnoStatus(errno, "cannot read the free space of", path);
  int64_t bytes = 0;
  if (__builtin_mul_overflow(info.f_bavail, info.f_frsize, &bytes)) {
    return std::numeric_limits<int64_t>::max();
  }
  return bytes;
}

absl::Status CheckFreeSpace(const std::string& folder, int64_t wanted_bytes) {
  MG_ASSIGN_OR_RETURN(const int64_t free_bytes, FreeBytes(folder));
  if (wanted_bytes <= free_bytes) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("not enough disk space in '", folder, "': ", wanted_bytes, " bytes wanted, ", free_bytes, " free"));
}

absl::Status WriteErrorStatus(int error, const std::string& path, int64_t wanted_bytes) {
  if (error != ENOSPC && error != EDQUOT && error != EFBIG) return ErrnoStatus(error, "cannot write", path);
  const absl::StatusOr<int64_t> free_bytes = FreeBytes(path);
  return absl::ResourceExhaustedError(
      absl::StrCat("cannot write '", path, "': ", strerror(error), "; ", wanted_bytes, " bytes wanted, ",
                   free_bytes.ok() ? absl::StrCat(*free_bytes) : "unknown", " free on the disk"));
}

}  // namespace merganser
