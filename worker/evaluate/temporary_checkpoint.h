// A merged model as files for as long as somebody needs them.
#ifndef MERGANSER_WORKER_EVALUATE_TEMPORARY_CHECKPOINT_H_
#define MERGANSER_WORKER_EVALUATE_TEMPORARY_CHECKPOINT_H_

#include <memory>
#include <stop_token>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "common/domain/recipe.h"
#include "worker/evaluate/local_library.h"

namespace merganser {

// A recipe as a directory, which is gone with this: in memory (/dev/shm) where it fits, else among the temporary files. A
// process that is killed leaves its own behind; the next one that writes any, or loads a job, removes them.
class TemporaryCheckpoint {
 public:
  // Errors of LocalLibrary::Export; ResourceExhausted: no folder can be made.
  static absl::StatusOr<std::unique_ptr<TemporaryCheckpoint>> Write(const Recipe& recipe, const LocalOptions& options,
                                                                    std::stop_token stop);
  ~TemporaryCheckpoint();
  TemporaryCheckpoint(const TemporaryCheckpoint&) = delete;
  TemporaryCheckpoint& operator=(const TemporaryCheckpoint&) = delete;

  std::string dir() const { return folder_ + "/model"; }

  // Removes what processes of this user left that are no more. Any thread, beside any other process.
  static void RemoveLeft();

 private:
  TemporaryCheckpoint(std::string folder, int lock) : folder_(std::move(folder)), lock_(lock) {}

  const std::string folder_;
  const int lock_;  // on the folder: held for as long as its process lives
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_EVALUATE_TEMPORARY_CHECKPOINT_H_
