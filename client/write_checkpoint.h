// The end of `merge` and `export`: writes a checkpoint with a progress bar and says what was
// written.
#ifndef MERGANSER_CLIENT_WRITE_CHECKPOINT_H_
#define MERGANSER_CLIENT_WRITE_CHECKPOINT_H_

#include "absl/status/statusor.h"
#include "worker/evaluate/local_library.h"

namespace merganser {

// Exit code; errors of ExportRecipe. Ctrl-C leaves no folder behind. `request.progress` is
// replaced.
absl::StatusOr<int> WriteCheckpoint(ExportRequest request, const LocalOptions& options);

}  // namespace merganser

#endif  // MERGANSER_CLIENT_WRITE_CHECKPOINT_H_
