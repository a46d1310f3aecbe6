// A checkpoint from the coordinator, over WorkerService.
#ifndef MERGANSER_WORKER_AGENT_COORDINATOR_SOURCE_H_
#define MERGANSER_WORKER_AGENT_COORDINATOR_SOURCE_H_

#include <memory>
#include <string>
#include <vector>

#include "common/rpc/channel.h"
#include "common/transfer/checkpoint_source.h"
#include "merganser/v1/worker_service.grpc.pb.h"

namespace merganser {

// Asks each coordinator in turn for the one that leads.
class CoordinatorSource final : public CheckpointSource {
 public:
  // REQUIRES: at least one; the channels are for this only, as its bulk would delay other calls.
  CoordinatorSource(std::vector<ClientChannel> coordinators, std::string content);

  std::string name() const override { return "the coordinator"; }
  absl::StatusOr<std::vector<File>> List(std::stop_token stop) override;
  bool ReadTellsSha256() const override { return true; }
  // Sums no file twice at the coordinator: it remembers.
  absl::StatusOr<std::string> Sha256Of(const File& file, std::stop_token stop) override;
  absl::StatusOr<std::string> Read(const File& file, int64_t offset, const Sink& sink, std::stop_token stop) override;
  // A coordinator of an older version tells no pieces.
  absl::StatusOr<std::string> ReadInPieces(const File& file, int64_t offset, const Sink& sink, const PieceSink& told,
                                           std::stop_token stop) override;
  absl::StatusOr<std::string> ReadPiece(const File& file, const Piece& piece, std::stop_token stop) override;

 private:
  // The SHA-256 that it tells, "" if none.
  absl::StatusOr<std::string> Stream(v1::ReadCheckpointFileRequest request, const Sink& sink, const PieceSink& told,
                                     std::stop_token stop);

  const std::vector<ClientChannel> coordinators_;
  const std::string content_;
  size_t leader_ = 0;  // that answered last
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_AGENT_COORDINATOR_SOURCE_H_
