// Checkpoints of this machine for workers that lack them, and what a job's record says of its models.
#ifndef MERGANSER_COORDINATOR_RPC_CHECKPOINT_SHARE_H_
#define MERGANSER_COORDINATOR_RPC_CHECKPOINT_SHARE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/domain/job_spec.h"
#include "common/transfer/checkpoint_files.h"
#include "common/transfer/file_digests.h"
#include "coordinator/job/job_manager.h"
#include "coordinator/rpc/write_stream.h"
#include "merganser/v1/worker_service.pb.h"

namespace merganser {

struct CheckpointShareOptions {
  // The directory of a model on this machine, within the model roots, or an error. Null: no checkpoint is known or given
  // out.
  std::function<absl::StatusOr<std::string>(const std::string& path)> resolve;
  // "org/name@COMMIT" of a Hub id, or an error. Null: Hub ids stay as they are.
  std::function<absl::StatusOr<std::string>(const std::string& path)> pin_hub_id;
  int streams_max = 16;          // files that are read at a time, a thread each
  int64_t bytes_per_second = 0;  // of all of them together; 0: no bound
  // Of which the SHA-256 is told besides the whole file's: a worker fetches one that came damaged again. At most
  // CheckpointSource::kPieceMax.
  int64_t piece_bytes = int64_t{64} << 20;
};

// Thread-safe.
class CheckpointShare {
 public:
  // `manager` outlives it.
  CheckpointShare(JobManager* manager, CheckpointShareOptions options);

  // Pins the models of a job to what they are now: a Hub id to its commit, and a model that this machine has to its content
  // ("PATH@sha256:CONTENT"). It may ask the Hub and read files, so it takes a while. What cannot be found stays as it is: a
  // worker may have it. FailedPrecondition (names the field): the job names a content, and the model here has another.
  absl::Status Pin(JobSpec* spec);

  // The directory of a content that a job names which is not over. NotFound: there is none, or it is not on this machine any
  // more; InvalidArgument: `content` is not 64 hexadecimal digits.
  absl::StatusOr<std::string> Find(const std::string& content);

  // Of files that it gave out or was asked about.
  FileDigests& digests() { return digests_; }

  int64_t piece_bytes() const { return options_.piece_bytes; }

  // How long the caller must wait before it sends so many bytes.
  absl::Duration Reserve(int64_t bytes);

 private:
  static constexpr absl::Duration kRefresh = absl::Seconds(2);  // between looks at the jobs

  const CheckpointShareOptions options_;
  JobManager& manager_;
  ContentIndex index_;
  FileDigests digests_;

  absl::Mutex mu_;
  absl::flat_hash_map<std::string, std::string> path_of_ ABSL_GUARDED_BY(mu_);  // by content, of jobs that are not over
  absl::Duration refreshed_at_ ABSL_GUARDED_BY(mu_) = -absl::InfiniteDuration();
  absl::Duration free_at_ ABSL_GUARDED_BY(mu_);  // when the line is free again
};

// One ReadCheckpointFile call.
class CheckpointStream final : public WriteStream<v1::ReadCheckpointFileResponse> {
 public:
  static constexpr size_t kMessage = size_t{1} << 20;
  static constexpr absl::Duration kWriteTimeout = absl::Seconds(60);

  // As WatchStream::Start. `share` outlives it.
  static std::shared_ptr<CheckpointStream> Start(const ServiceContext* services, CallPool* pool, CheckpointShare* share,
                                                 grpc::CallbackServerContext* context,
                                                 const v1::ReadCheckpointFileRequest& request);

  // Use Start.
  CheckpointStream(const ServiceContext* services, CheckpointShare* share, const v1::ReadCheckpointFileRequest& request);

 private:
  absl::Status Body() override;

  CheckpointShare& share_;
  const v1::ReadCheckpointFileRequest request_;
};

// Answers ListCheckpointFiles.
absl::Status ListCheckpointFiles(CheckpointShare* share, const v1::ListCheckpointFilesRequest& request,
                                 v1::ListCheckpointFilesResponse* response);

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_RPC_CHECKPOINT_SHARE_H_
