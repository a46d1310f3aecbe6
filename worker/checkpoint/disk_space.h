// Full disks: found before writing where possible, and named when not.
#ifndef MERGANSER_WORKER_CHECKPOINT_DISK_SPACE_H_
#define MERGANSER_WORKER_CHECKPOINT_DISK_SPACE_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace merganser {

// Bytes that this user may still write in the file system of `path` (a file or folder that exists).
absl::StatusOr<int64_t> FreeBytes(const std::string& path);

// ResourceExhausted naming `folder`, `wanted_bytes` and the free bytes if that much does not fit
// there.
absl::Status CheckFreeSpace(const std::string& folder, int64_t wanted_bytes);

// The Status of a failed write to `path`: ResourceExhausted naming file, wanted and free bytes for
// a full disk, an exhausted quota or the process's file size limit; ErrnoStatus otherwise.
// `wanted_bytes`: what the whole file needs.
absl::Status WriteErrorStatus(int error, const std::string& path, int64_t wanted_bytes);

}  // namespace merganser

#endif  // MERGANSER_WORKER_CHECKPOINT_DISK_SPACE_H_
