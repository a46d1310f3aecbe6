#include "worker/agent/coordinator_source.h"

#include <algorithm>
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

absl::StatusOr<std::string> CoordinatorSource::Stream(v1::ReadCheckpointFileRequest request, const Sink& sink,
                                                      const PieceSink& told, std::stop_token stop) {
  const ClientChannel& channel = coordinators_[leader_];
  grpc::ClientContext context;
  channel.Prepare(&context, absl::InfiniteDuration());
  const std::stop_callback cancel(stop, [&context] { context.TryCancel(); });
  request.set_content(content_);
  const auto reader = v1::WorkerService::NewStub(channel.channel)->ReadCheckpointFile(&context, request);
  v1::ReadCheckpointFileResponse message;
  std::string sha256;
  while (reader->Read(&message)) {
    if (!message.sha256().empty()) sha256 = message.sha256();
    absl::Status taken;
    if (!message.data().empty()) taken = sink(message.data());
    if (taken.ok() && message.has_piece() && told) {
      taken = told({message.piece().begin(), message.piece().end(), message.piece().sha256()});
    }
    if (taken.ok()) continue;
    context.TryCancel();
    (void)reader->Finish();
    return taken;
  }
  absl::Status status = FromGrpc(reader->Finish());
  // All streams are taken, or it took us for too slow: that passes.
  if (absl::IsResourceExhausted(status) || absl::IsDeadlineExceeded(status))
    status = absl::UnavailableError(status.message());
  MG_RETURN_IF_ERROR(status);
  return sha256;
}

absl::StatusOr<std::string> CoordinatorSource::Read(const File& file, int64_t offset, const Sink& sink,
                                                    std::stop_token stop) {
  return ReadInPieces(file, offset, sink, nullptr, stop);
}

absl::StatusOr<std::string> CoordinatorSource::ReadInPieces(const File& file, int64_t offset, const Sink& sink,
                                                            const PieceSink& told, std::stop_token stop) {
  v1::ReadCheckpointFileRequest request;
  request.set_file(file.name);
  request.set_offset(offset);
  request.set_with_pieces(told != nullptr);
  MG_ASSIGN_OR_RETURN(std::string sha256, Stream(std::move(request), sink, told, stop));
  if (sha256.empty()) return absl::UnavailableError("the coordinator ended before the file's end");
  return sha256;
}

absl::StatusOr<std::string> CoordinatorSource::ReadPiece(const File& file, const Piece& piece, std::stop_token stop) {
  v1::ReadCheckpointFileRequest request;
  request.set_file(file.name);
  request.set_offset(piece.begin);
  request.set_end(piece.end);
  const auto size = static_cast<size_t>(piece.end - piece.begin);
  std::string bytes;
  const auto take = [&](absl::string_view more) {
    // One of an older version goes on to the file's end.
    bytes.append(more.data(), std::min(more.size(), size - bytes.size()));
    return bytes.size() < size ? absl::OkStatus() : absl::OutOfRangeError("that is all of it");
  };
  const absl::StatusOr<std::string> ended = Stream(std::move(request), take, nullptr, stop);
  if (bytes.size() == size) return bytes;
  MG_RETURN_IF_ERROR(ended.status());
  return absl::UnavailableError("the coordinator ended before the piece's end");
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
