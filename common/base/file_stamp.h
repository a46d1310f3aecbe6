// Whether a file has changed since somebody looked.
#ifndef MERGANSER_COMMON_BASE_FILE_STAMP_H_
#define MERGANSER_COMMON_BASE_FILE_STAMP_H_

#include <sys/stat.h>

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace merganser {

// What tells one state of a file from another.
struct FileStamp {
  int64_t size = 0, seconds = 0, nanoseconds = 0;
  uint64_t device = 0, inode = 0;
  bool operator==(const FileStamp&) const = default;
};
FileStamp StampOf(const struct stat& found);
// The error of stat.
absl::StatusOr<FileStamp> StampAt(const std::string& path);

}  // namespace merganser

#endif  // MERGANSER_COMMON_BASE_FILE_STAMP_H_
