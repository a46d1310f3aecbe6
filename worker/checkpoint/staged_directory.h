// A directory that appears whole or not at all.
#ifndef MERGANSER_WORKER_CHECKPOINT_STAGED_DIRECTORY_H_
#define MERGANSER_WORKER_CHECKPOINT_STAGED_DIRECTORY_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace merganser {

// Collects files in `out`.tmp-PID, then takes the place of `out` by one rename. Destroyed before
// Commit, it removes what it collected. Not thread-safe. The temporary folder is locked (flock)
// while it is in use; those of the same name that dead processes left behind are removed by Create.
class StagedDirectory {
 public:
  // AlreadyExists: `out` is a file, or a folder that is not empty and `overwrite` is false, or
  // another export to it is under way. FailedPrecondition: `overwrite`, but the folder holds no
  // `marker_file`, so that it is hardly what the caller means to replace. NotFound: the parent
  // folder does not exist. PermissionDenied.
  static absl::StatusOr<std::unique_ptr<StagedDirectory>> Create(const std::string& out, bool overwrite,
                                                                 const std::string& marker_file);

  ~StagedDirectory();
  StagedDirectory(const StagedDirectory&) = delete;
  StagedDirectory& operator=(const StagedDirectory&) = delete;

  // Where to write, until Commit.
  const std::string& path() const { return path_; }

  // Syncs the folder and puts it in place of `out`; what was there is removed afterwards. On an
  // error `out` is as it was.
  absl::Status Commit();

 private:
  StagedDirectory() = default;

  std::string out_;
  std::string path_;
  int lock_fd_ = -1;  // the folder itself, locked
  bool overwrite_ = false;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_CHECKPOINT_STAGED_DIRECTORY_H_
