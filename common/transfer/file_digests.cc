#include "common/transfer/file_digests.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/sha256_stream.h"
#include "common/base/status_macros.h"

namespace merganser {
namespace {

constexpr size_t kPiece = size_t{1} << 20;

}  // namespace

absl::StatusOr<std::string> Sha256OfFile(const std::string& path, const std::function<bool()>& ended) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return ErrnoStatus(errno, "cannot open", path);
  Sha256Stream sha;
  std::string piece(kPiece, '\0');
  absl::Status status;
  while (status.ok()) {
    const ssize_t n = read(fd, piece.data(), piece.size());
    if (n == 0) break;
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      status = ErrnoStatus(errno, "cannot read", path);
    } else if (ended && ended()) {
      status = absl::CancelledError("stopped");
    } else {
      sha.Add(absl::string_view(piece.data(), n));
    }
  }
  close(fd);
  MG_RETURN_IF_ERROR(status);
  return sha.Hex();
}

std::shared_ptr<FileDigests::Entry> FileDigests::At(const std::string& path) {
  absl::MutexLock lock(&mu_);
  if (entries_.size() >= kFilesMax && !entries_.contains(path)) entries_.clear();
  std::shared_ptr<Entry>& entry = entries_[path];
  if (entry == nullptr) entry = std::make_shared<Entry>();
  return entry;
}

absl::StatusOr<std::string> FileDigests::Of(const std::string& path, const std::function<bool()>& ended) {
  const std::shared_ptr<Entry> entry = At(path);
  absl::MutexLock lock(&entry->mu);
  MG_ASSIGN_OR_RETURN(const FileStamp stamp, StampAt(path));
  if (!entry->sha256.empty() && entry->stamp == stamp) return entry->sha256;
  MG_ASSIGN_OR_RETURN(std::string sha256, Sha256OfFile(path, ended));
  MG_ASSIGN_OR_RETURN(const FileStamp after, StampAt(path));
  if (after != stamp) return absl::AbortedError(absl::StrCat("'", path, "' was written to while it was summed"));
  entry->stamp = stamp;
  entry->sha256 = sha256;
  return sha256;
}

void FileDigests::Learn(const std::string& path, const FileStamp& stamp, const std::string& sha256) {
  const std::shared_ptr<Entry> entry = At(path);
  absl::MutexLock lock(&entry->mu);
  entry->stamp = stamp;
  entry->sha256 = sha256;
}

}  // namespace merganser
