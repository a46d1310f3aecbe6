#include "common/transfer/file_fetch.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/base/files.h"
#include "common/base/log.h"
#include "common/base/sha256_stream.h"
#include "common/base/status_macros.h"
#include "common/transfer/file_digests.h"

namespace merganser {
namespace {

namespace fs = std::filesystem;

int64_t SizeOf(const fs::path& path) {
  std::error_code error;
  const auto size = fs::file_size(path, error);
  return error ? 0 : static_cast<int64_t>(size);
}

// A file that grows at its end.
class PartFile {
 public:
  explicit PartFile(std::string path)
      : path_(std::move(path)), fd_(open(path_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644)), error_(errno) {}
  ~PartFile() {
    if (fd_ >= 0) close(fd_);
  }
  PartFile(const PartFile&) = delete;
  PartFile& operator=(const PartFile&) = delete;

  // What is there already, into `sha`; its size.
  absl::StatusOr<int64_t> ReadBack(Sha256Stream* sha) const {
    if (fd_ < 0) return ErrnoStatus(error_, "cannot open", path_);
    std::string buffer(1 << 20, '\0');
    int64_t size = 0;
    while (true) {
      const ssize_t n = pread(fd_, buffer.data(), buffer.size(), size);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return ErrnoStatus(errno, "cannot read", path_);
      if (n == 0) return size;
      sha->Add(absl::string_view(buffer.data(), n));
      size += n;
    }
  }
  absl::Status Append(absl::string_view bytes) const {
    while (!bytes.empty()) {
      const ssize_t n = write(fd_, bytes.data(), bytes.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return ErrnoStatus(errno, "cannot write", path_);
      bytes.remove_prefix(n);
    }
    return absl::OkStatus();
  }
  absl::StatusOr<std::string> Sum(int64_t begin, int64_t end) const {
    Sha256Stream sha;
    for (int64_t at = begin; at < end;) {
      MG_ASSIGN_OR_RETURN(const std::string bytes, Bytes(at, std::min(end, at + (int64_t{1} << 20))));
      sha.Add(bytes);
      at += static_cast<int64_t>(bytes.size());
    }
    return sha.Hex();
  }
  absl::StatusOr<std::string> Bytes(int64_t begin, int64_t end) const {
    std::string bytes(static_cast<size_t>(end - begin), '\0');
    for (size_t done = 0; done < bytes.size();) {
      const ssize_t n = pread(fd_, bytes.data() + done, bytes.size() - done, begin + static_cast<int64_t>(done));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return ErrnoStatus(errno, "cannot read", path_);
      if (n == 0) return absl::DataLossError(absl::StrCat("'", path_, "' ends before byte ", end));
      done += static_cast<size_t>(n);
    }
    return bytes;
  }
  // What is there already from `begin` on.
  absl::Status Replace(int64_t begin, absl::string_view bytes) const {
    const int fd = open(path_.c_str(), O_WRONLY | O_CLOEXEC);  // the other one only appends
    if (fd < 0) return ErrnoStatus(errno, "cannot open", path_);
    absl::Status written;
    while (!bytes.empty() && written.ok()) {
      const ssize_t n = pwrite(fd, bytes.data(), bytes.size(), begin);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) written = ErrnoStatus(errno, "cannot write", path_);
      if (n > 0) bytes.remove_prefix(n), begin += n;
    }
    close(fd);
    return written;
  }
  absl::Status Sync() const { return fsync(fd_) == 0 ? absl::OkStatus() : ErrnoStatus(errno, "cannot sync", path_); }

 private:
  const std::string path_;
  const int fd_, error_;
};

// A copy of a file that came damaged, kept beside it until a right one tells where.
std::string DamagedName(absl::string_view path) { return absl::StrCat(path, ".damaged"); }

using Piece = CheckpointSource::Piece;

// "3000-3999 of 20000": where two texts of one length, which begin at `begin` of a file, differ.
std::string Differing(absl::string_view one, absl::string_view other, int64_t begin, int64_t size) {
  size_t first = 0, last = one.size();
  while (first < last && one[first] == other[first]) ++first;
  while (last > first && one[last - 1] == other[last - 1]) --last;
  return absl::StrCat(begin + static_cast<int64_t>(first), "-", begin + static_cast<int64_t>(last) - 1, " of ", size);
}

// Fetches the pieces of `out` anew that are not as told. DataLoss: one of them comes damaged in every try.
absl::Status Mend(CheckpointSource* source, const CheckpointSource::File& file, const std::vector<Piece>& damaged,
                  int64_t size, const PartFile& out, const FetchOptions& options, const std::stop_token& stop) {
  for (const Piece& piece : damaged) {
    absl::Duration backoff = options.backoff;
    absl::Status last;
    for (int attempt = 0; attempt < options.tries; ++attempt) {
      if (attempt > 0) {
        MG_RETURN_IF_ERROR(SleepUnlessStopped(backoff, stop));
        backoff *= 2;
      }
      const absl::StatusOr<std::string> bytes = source->ReadPiece(file, piece, stop);
      last = bytes.status();
      if (absl::IsUnavailable(last)) continue;
      MG_RETURN_IF_ERROR(last);
      Sha256Stream sha;
      sha.Add(*bytes);
      const std::string sum = sha.Hex();
      if (sum != piece.sha256 || static_cast<int64_t>(bytes->size()) != piece.end - piece.begin) {
        last = absl::DataLossError(absl::StrCat("'", file.name, "': bytes ", piece.begin, "-", piece.end - 1, " of ", size,
                                                " came from ", source->name(), " with the SHA-256 ", sum,
                                                " and should have ", piece.sha256));
        continue;
      }
      MG_ASSIGN_OR_RETURN(const std::string before, out.Bytes(piece.begin, piece.end));
      MG_RETURN_IF_ERROR(out.Replace(piece.begin, *bytes));
      MG_LOG(WARNING) << "a damaged transfer was mended file=" << file.name << " source=" << source->name() << " bytes=\""
                      << Differing(before, *bytes, piece.begin, size) << "\" fetched_again=" << piece.end - piece.begin;
      break;
    }
    MG_RETURN_IF_ERROR(last);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> DifferingBytes(const std::string& one, const std::string& other) {
  std::ifstream a(one, std::ios::binary), b(other, std::ios::binary);
  if (!a || !b) return absl::NotFoundError(absl::StrCat("cannot open '", a ? other : one, "'"));
  std::vector<char> left(1 << 20), right(1 << 20);
  int64_t at = 0, first = -1, last = -1;
  while (true) {
    a.read(left.data(), static_cast<std::streamsize>(left.size()));
    b.read(right.data(), static_cast<std::streamsize>(right.size()));
    const int64_t here = std::max(a.gcount(), b.gcount()), both = std::min(a.gcount(), b.gcount());
    for (int64_t i = 0; i < here; ++i) {
      if (i < both && left[i] == right[i]) continue;
      if (first < 0) first = at + i;
      last = at + i;
    }
    at += here;
    if (here < static_cast<int64_t>(left.size())) break;
  }
  return first < 0 ? "" : absl::StrCat(first, "-", last, " of ", at);
}

std::string PartName(absl::string_view name) { return absl::StrCat(name, ".part"); }

absl::Status SyncFolder(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return ErrnoStatus(errno, "cannot open", path);
  const int failed = fsync(fd) != 0 ? errno : 0;
  close(fd);
  return failed == 0 ? absl::OkStatus() : ErrnoStatus(failed, "cannot sync", path);
}

absl::Status SleepUnlessStopped(absl::Duration time, const std::stop_token& stop) {
  for (const absl::Time end = absl::Now() + time; absl::Now() < end;) {
    if (stop.stop_requested()) return absl::CancelledError("stopped");
    absl::SleepFor(std::min(absl::Milliseconds(50), end - absl::Now()));
  }
  return absl::OkStatus();
}

absl::StatusOr<int64_t> FetchFile(CheckpointSource* source, const CheckpointSource::File& file, const std::string& dir,
                                  const FetchOptions& options, const std::function<void(int64_t)>& at,
                                  std::stop_token stop) {
  const std::string path = absl::StrCat(dir, "/", file.name), part = PartName(path), damaged = DamagedName(path);
  std::error_code error;
  if (fs::exists(path, error) && (file.size < 0 || SizeOf(path) == file.size)) {
    if (file.sha256.empty()) return SizeOf(path);
    MG_ASSIGN_OR_RETURN(const std::string sum, Sha256OfFile(path, [&stop] { return stop.stop_requested(); }));
    if (sum == file.sha256) return SizeOf(path);
    MG_LOG(WARNING) << "a file of an earlier transfer is damaged: it is fetched again path=" << path;
  }
  fs::remove(path, error);
  absl::Duration backoff = options.backoff;
  absl::Status last;
  for (int attempt = 0; attempt < options.tries; ++attempt) {
    if (attempt > 0) {
      MG_RETURN_IF_ERROR(SleepUnlessStopped(backoff, stop));
      backoff *= 2;
    }
    if (file.size >= 0 && SizeOf(part) > file.size) fs::remove(part, error);
    const PartFile out(part);
    Sha256Stream sha;
    MG_ASSIGN_OR_RETURN(int64_t size, out.ReadBack(&sha));
    const int64_t start = size;
    const auto sink = [&](absl::string_view bytes) -> absl::Status {
      if (stop.stop_requested()) return absl::CancelledError("stopped");
      // A source that does not end must not fill the disk.
      if (size + static_cast<int64_t>(bytes.size()) > (file.size >= 0 ? file.size : options.bytes_max)) {
        return absl::DataLossError(absl::StrCat("'", file.name, "' is longer than the source said"));
      }
      MG_RETURN_IF_ERROR(out.Append(bytes));
      sha.Add(bytes);
      size += static_cast<int64_t>(bytes.size());
      at(size);
      return absl::OkStatus();
    };
    std::vector<Piece> wrong;
    int64_t told_end = 0;
    const auto told = [&](const Piece& piece) -> absl::Status {
      if (piece.begin != told_end || piece.end <= piece.begin || piece.end > size ||
          piece.end - piece.begin > CheckpointSource::kPieceMax) {
        return absl::DataLossError(absl::StrCat("'", file.name, "': the source tells of bytes ", piece.begin, "-",
                                                piece.end - 1, " where ", told_end, " of ", size, " are told of"));
      }
      told_end = piece.end;
      MG_ASSIGN_OR_RETURN(const std::string sum, out.Sum(piece.begin, piece.end));
      if (sum != piece.sha256) wrong.push_back(piece);
      return stop.stop_requested() ? absl::CancelledError("stopped") : absl::OkStatus();
    };
    absl::StatusOr<std::string> sha256 = source->ReadInPieces(file, size, sink, told, stop);
    // There is nothing behind the last byte.
    if (absl::IsOutOfRange(sha256.status()) && size > 0 && (file.size < 0 || size == file.size)) sha256 = "";
    if (sha256.ok() && file.size >= 0 && size < file.size) {
      sha256 = absl::UnavailableError(absl::StrCat("'", file.name, "' broke off after ", size, " of ", file.size, " bytes"));
    }
    last = sha256.status();
    if (absl::IsUnavailable(last)) {
      if (size - start >= options.progress) {  // a long file over a bad line
        attempt = 0;
        backoff = options.backoff;
      }
      continue;
    }
    if (last.ok() && !wrong.empty()) {
      last = Mend(source, file, wrong, size, out, options, stop);
      if (absl::IsUnavailable(last)) continue;  // what is mended already is kept
      if (absl::IsDataLoss(last)) {
        MG_LOG(WARNING) << "a transfer was damaged: " << last.message();
        fs::remove(part, error);
        return last;
      }
      sha = Sha256Stream();
      if (last.ok()) last = out.ReadBack(&sha).status();
    }
    if (last.ok()) {
      const std::string sum = sha.Hex();
      for (const std::string& expected : {*sha256, file.sha256}) {
        if (!last.ok() || expected.empty() || sum == expected) continue;
        std::string where;
        if (fs::exists(damaged, error)) where = DifferingBytes(damaged, part).value_or("");
        last = absl::DataLossError(
            absl::StrCat("'", file.name, "' of ", size, " bytes came from ", source->name(), " with the SHA-256 ", sum,
                         " and should have ", expected,
                         where.empty() ? "" : absl::StrCat("; bytes ", where, " differ from the try before")));
        MG_LOG(WARNING) << "a transfer was damaged: " << last.message();
        fs::rename(part, damaged, error);
      }
    }
    if (absl::IsDataLoss(last)) {  // from the start
      fs::remove(part, error);
      continue;
    }
    MG_RETURN_IF_ERROR(last);
    MG_RETURN_IF_ERROR(out.Sync());
    if (fs::exists(damaged, error)) {
      MG_LOG(WARNING) << "a damaged transfer was mended file=" << file.name << " source=" << source->name() << " bytes=\""
                      << DifferingBytes(damaged, part).value_or("") << '"';
      fs::remove(damaged, error);
    }
    fs::rename(part, path, error);
    if (error) return ErrnoStatus(error.value(), "cannot rename", part);
    return size;
  }
  fs::remove(damaged, error);
  return last;
}

}  // namespace merganser
