#include "common/base/file_stamp.h"

#include <cerrno>

#include "common/base/files.h"

namespace merganser {

FileStamp StampOf(const struct stat& found) {
  return {.size = found.st_size,
          .seconds = found.st_mtim.tv_sec,
          .nanoseconds = found.st_mtim.tv_nsec,
          .device = found.st_dev,
          .inode = found.st_ino};
}

absl::StatusOr<FileStamp> StampAt(const std::string& path) {
  struct stat found = {};
  if (stat(path.c_str(), &found) != 0) return ErrnoStatus(errno, "cannot look at", path);
  return StampOf(found);
}

}  // namespace merganser
