#include "worker/agent/coordinator_source.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/rpc/status_codec.h"

namespace merganser {
namespace {

constexpr absl::Duration kListTimeout = absl::Seconds(60);  // the coordinator may look through all weights first

}  // namespace

CoordinatorSource::CoordinatorSource(std::vector<ClientChannel> coordinators, std::string content)
    : coordinators_(std::move(coordinators)), content_(std::move(content)) {}

absl::StatusOr<std::vector<CheckpointSource::File>> CoordinatorSource::List(std::stop_token stop) {
  absl::Status last;
  for (size_t i = 0; i < coordinators_.size(); ++i) {
    const size_t at = (leader_ + i) % coordinators_.size();
    const ClientChannel& channel = coordinators_[at];
    grpc::ClientContext context;
    channel.Prepare(&context, kListTimeout);
    const std::stop_callback cancel(stop, [&context] { context.TryCancel(); });
    v1::ListCheckpointFilesRequest request;
    request.set_content(content_);
    v1::ListCheckpointFilesResponse response;
    last = FromGrpc(v1::WorkerService::NewStub(channel.channel)->ListCheckpointFiles(&context, request, &response));
    if (last.ok()) {
      leader_ = at;
      std::vector<File> files;
      for (const v1::CheckpointFile& file : response.files()) files.push_back({file.name(), file.size(), ""});
      return files;
    }
    if (!absl::IsUnavailable(last)) break;  // it leads
  }
  // A coordinator of an older version.
  if (absl::IsUnimplemented(last)) return absl::NotFoundError(last.message());
  if (absl::IsResourceExhausted(last)) return absl::UnavailableError(last.message());  // too many calls: that passes
  return last;
}

absl::StatusOr<std::string> CoordinatorSource::Read(const File& file, int64_t offset, const Sink& sink,
                                                    std::stop_token stop) {
  const ClientChannel& channel = coordinators_[leader_];
  grpc::ClientContext context;
  channel.Prepare(&context, absl::InfiniteDuration());
  const std::stop_callback cancel(stop, [&context] { context.TryCancel(); });
  v1::ReadCheckpointFileRequest request;
  request.set_content(content_);
  request.set_file(file.name);
  request.set_offset(offset);
  const auto reader = v1::WorkerService::NewStub(channel.channel)->ReadCheckpointFile(&context, request);
  v1::ReadCheckpointFileResponse piece;
  std::string sha256;
  while (reader->Read(&piece)) {
    if (!piece.sha256().empty()) sha256 = piece.sha256();
    if (piece.data().empty()) continue;
    if (absl::Status taken = sink(piece.data()); !taken.ok()) {
      context.TryCancel();
      (void)reader->Finish();
      return taken;
    }
  }
  absl::Status status = FromGrpc(reader->Finish());
  // All streams are taken, or it took us for too slow: that passes.
  if (absl::IsResourceExhausted(status) || absl::IsDeadlineExceeded(status))
    status = absl::UnavailableError(status.message());
  MG_RETURN_IF_ERROR(status);
  if (sha256.empty()) return absl::UnavailableError("the coordinator ended before the file's end");
  return sha256;
}

absl::StatusOr<std::string> CoordinatorSource::Sha256Of(const File& file, std::stop_token stop) {
  MG_ASSIGN_OR_RETURN(const std::vector<File> files, List(stop));
  for (const File& there : files) {
    if (there.name != file.name) continue;
    // From its end on there are no bytes, only the sum.
    return Read(
        there, there.size, [](absl::string_view) { return absl::OkStatus(); }, stop);
  }
  return absl::NotFoundError(absl::StrCat("the coordinator has no '", file.name, "' of it"));
}

}  // namespace merganser
