// Files the safe way: whole reads with a bound, writes to a temporary name that are synced and renamed.
#ifndef MERGANSER_COMMON_BASE_FILES_H_
#define MERGANSER_COMMON_BASE_FILES_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace merganser {

// The file's bytes. NotFound if absent; PermissionDenied; InvalidArgument if it is larger than `max_bytes` (the message
// names file, size and bound) or a directory; DataLoss on a read error.
absl::StatusOr<std::string> ReadFile(const std::string& path, int64_t max_bytes = int64_t{1} << 30);

// Writes `bytes` to `path` through `path`.tmp-PID, fsync and rename: readers see the old file or the whole new one.
// ResourceExhausted when the disk is full (the temporary file is removed), PermissionDenied, NotFound (no such folder).
absl::Status WriteFileAtomically(const std::string& path, absl::string_view bytes);

// A Status from errno, with the code a caller can act on (ENOSPC and EDQUOT: ResourceExhausted, ENOENT: NotFound,
// EACCES, EPERM and EROFS: PermissionDenied, else Unavailable) and "what 'path': strerror".
absl::Status ErrnoStatus(int error, absl::string_view what, absl::string_view path);

}  // namespace merganser

#endif  // MERGANSER_COMMON_BASE_FILES_H_
