#include "coordinator/rpc/checkpoint_share.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/base/file_stamp.h"
#include "common/base/files.h"
#include "common/base/sha256_stream.h"
#include "common/base/status_macros.h"

namespace merganser {
namespace {

struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) close(fd);
  }
};

}  // namespace

CheckpointShare::CheckpointShare(JobManager* manager, CheckpointShareOptions options)
    : options_(std::move(options)), manager_(*manager) {}

absl::Status CheckpointShare::Pin(JobSpec* spec) {
  bool hub_away = false;  // asked once; whoever submits waits for it
  for (ModelRef& model : spec->models) {
    auto [path, content] = SplitContent(model.path);
    if (options_.pin_hub_id && !hub_away) {
      const absl::StatusOr<std::string> pinned = options_.pin_hub_id(path);
      if (pinned.ok()) path = *pinned;
      hub_away = absl::IsUnavailable(pinned.status());
    }
    if (options_.resolve) {
      const absl::StatusOr<std::string> dir = options_.resolve(path);
      const absl::StatusOr<std::string> here = dir.ok() ? index_.Of(*dir) : dir.status();
      if (here.ok() && !content.empty() && content != *here) {
        return absl::FailedPreconditionError(
            absl::StrCat("models.", model.name, ".path: ", path, " has the content ", *here, " here, not ", content));
      }
      if (here.ok()) content = *here;
    }
    model.path = content.empty() ? path : WithContent(path, content);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> CheckpointShare::Find(const std::string& content) {
  if (SplitContent(WithContent("x", content)).second.empty()) {
    return absl::InvalidArgumentError("content: must be 64 hexadecimal digits");
  }
  if (!options_.resolve)
    return absl::NotFoundError("this coordinator gives out no checkpoints: it was started without --model-root");
  const absl::Duration now = Clock::Real().Monotonic();
  std::string path;
  {
    absl::MutexLock lock(&mu_);
    if (now - refreshed_at_ >= kRefresh)
      refreshed_at_ = now;
    else if (const auto it = path_of_.find(content); it != path_of_.end())
      path = it->second;
  }
  if (path.empty()) {
    MG_ASSIGN_OR_RETURN(const std::vector<JobSummary> jobs, manager_.ListJobs());
    absl::MutexLock lock(&mu_);
    path_of_.clear();
    for (const JobSummary& job : jobs) {
      if (IsTerminal(job.phase)) continue;
      for (const ModelRef& model : job.spec.models) {
        auto [model_path, model_content] = SplitContent(model.path);
        if (!model_content.empty()) path_of_[model_content] = model_path;
      }
    }
    const auto it = path_of_.find(content);
    if (it == path_of_.end())
      return absl::NotFoundError(absl::StrCat("no job that is not over names the content ", content));
    path = it->second;
  }
  const absl::StatusOr<std::string> dir = options_.resolve(path);
  if (!dir.ok()) return absl::NotFoundError(absl::StrCat("the coordinator does not have '", path, "'"));
  MG_ASSIGN_OR_RETURN(const std::string here, index_.Of(*dir));
  if (here != content) return absl::NotFoundError(absl::StrCat("'", path, "' has another content by now"));
  return *dir;
}

absl::Duration CheckpointShare::Reserve(int64_t bytes) {
  if (options_.bytes_per_second <= 0) return absl::ZeroDuration();
  const absl::Duration now = Clock::Real().Monotonic();
  absl::MutexLock lock(&mu_);
  const absl::Duration from = std::max(now, free_at_);
  free_at_ = from + absl::Seconds(static_cast<double>(bytes) / static_cast<double>(options_.bytes_per_second));
  return from - now;
}

absl::Status ListCheckpointFiles(CheckpointShare* share, const v1::ListCheckpointFilesRequest& request,
                                 v1::ListCheckpointFilesResponse* response) {
  MG_ASSIGN_OR_RETURN(const std::string dir, share->Find(request.content()));
  MG_ASSIGN_OR_RETURN(const std::vector<CheckpointFile> files, ListCheckpointFiles(dir));
  for (const CheckpointFile& file : files) {
    v1::CheckpointFile* const p = response->add_files();
    p->set_name(file.name);
    p->set_size(file.size);
  }
  return absl::OkStatus();
}

CheckpointStream::CheckpointStream(const ServiceContext* services, CheckpointShare* share,
                                   const v1::ReadCheckpointFileRequest& request)
    : WriteStream(services, "ReadCheckpointFile", kWriteTimeout), share_(*share), request_(request) {}

std::shared_ptr<CheckpointStream> CheckpointStream::Start(const ServiceContext* services, CallPool* pool,
                                                          CheckpointShare* share, grpc::CallbackServerContext* context,
                                                          const v1::ReadCheckpointFileRequest& request) {
  auto stream = std::make_shared<CheckpointStream>(services, share, request);
  stream->WriteStream::Start(pool, Admit(*services, *context, "ReadCheckpointFile", Role::kWorker),
                             "too many workers read checkpoints; try again");
  return stream;
}

absl::Status CheckpointStream::Body() {
  MG_ASSIGN_OR_RETURN(const std::string dir, share_.Find(request_.content()));
  MG_ASSIGN_OR_RETURN(const std::vector<CheckpointFile> files, ListCheckpointFiles(dir));
  const auto file =
      std::find_if(files.begin(), files.end(), [&](const CheckpointFile& f) { return f.name == request_.file(); });
  if (file == files.end()) return absl::NotFoundError("file: the checkpoint has none of that name");
  if (request_.offset() < 0 || request_.offset() > file->size) {
    return absl::OutOfRangeError(
        absl::StrCat("offset: ", request_.offset(), " is not within the file's ", file->size, " bytes"));
  }
  if (request_.end() != 0 && (request_.end() < request_.offset() || request_.end() > file->size)) {
    return absl::OutOfRangeError(absl::StrCat("end: ", request_.end(), " is not within offset ", request_.offset(),
                                              " and the file's ", file->size, " bytes"));
  }
  const std::string path = absl::StrCat(dir, "/", file->name);
  v1::ReadCheckpointFileResponse last;
  const bool part = request_.end() != 0, pieces = request_.with_pieces() && !part;
  if (request_.offset() == file->size && !pieces) {
    MG_ASSIGN_OR_RETURN(*last.mutable_sha256(), share_.digests().Of(path, [this] { return ended(); }));
    return Write(std::move(last)) ? absl::OkStatus() : absl::CancelledError("the client left");
  }
  const Descriptor in{open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (in.fd < 0) return ErrnoStatus(errno, "cannot open", path);
  struct stat before = {}, after = {};
  if (fstat(in.fd, &before) != 0) return ErrnoStatus(errno, "cannot look at", path);
  Sha256Stream sha, piece_sha;
  int64_t piece_begin = 0;
  std::string bytes;
  const int64_t all = part ? request_.end() : file->size;
  for (int64_t at = part ? request_.offset() : 0; at < all;) {
    // What the worker has already is only summed.
    const bool sent = at < request_.offset();
    int64_t end = std::min(at + static_cast<int64_t>(kMessage), sent ? std::min(all, request_.offset()) : all);
    const int64_t piece_end = std::min(piece_begin + share_.piece_bytes(), file->size);
    if (pieces) end = std::min(end, piece_end);
    bytes.resize(end - at);
    const ssize_t n = pread(in.fd, bytes.data(), bytes.size(), at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, "cannot read", path);
    if (n == 0) return absl::DataLossError(absl::StrCat("'", path, "' became shorter while it was read"));
    bytes.resize(n);
    if (!part) sha.Add(bytes);
    if (pieces) piece_sha.Add(bytes);
    at += n;
    if (ended()) return absl::CancelledError("the client left");
    v1::ReadCheckpointFileResponse response;
    if (!sent) {
      absl::SleepFor(share_.Reserve(n));
      response.set_data(bytes);
    }
    if (pieces && at == piece_end) {
      response.mutable_piece()->set_begin(piece_begin);
      response.mutable_piece()->set_end(piece_end);
      response.mutable_piece()->set_sha256(piece_sha.Hex());
      piece_sha = Sha256Stream();
      piece_begin = piece_end;
    }
    if (sent && !response.has_piece()) continue;
    if (!Write(std::move(response))) return absl::CancelledError("the client left");
  }
  if (part) return absl::OkStatus();
  last.set_sha256(sha.Hex());
  if (fstat(in.fd, &after) == 0 && StampOf(before) == StampOf(after)) {
    share_.digests().Learn(path, StampOf(before), last.sha256());
  }
  return Write(std::move(last)) ? absl::OkStatus() : absl::CancelledError("the client left");
}

}  // namespace merganser
