#include "common/transfer/checkpoint_cache.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "common/transfer/checkpoint_files.h"

namespace merganser {
namespace {

namespace fs = std::filesystem;

constexpr absl::Duration kLockPoll = absl::Milliseconds(200);
constexpr size_t kFilesMax = 2000;  // of one checkpoint
constexpr absl::string_view kPartial = ".partial";

// Size of the files in a folder.
int64_t BytesIn(const fs::path& dir) {
  int64_t bytes = 0;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(dir, error)) {
    std::error_code gone;
    const auto size = entry.file_size(gone);
    if (!gone) bytes += static_cast<int64_t>(size);
  }
  return bytes;
}

void Touch(const std::string& path) { (void)utimensat(AT_FDCWD, path.c_str(), nullptr, 0); }

absl::StatusOr<int> OpenLock(const std::string& dir, const std::string& content) {
  const std::string path = absl::StrCat(dir, "/", content, ".lock");
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return ErrnoStatus(errno, "cannot open", path);
  return fd;
}

// "" if nobody knows it.
std::string Sha256From(CheckpointSource* source, const std::vector<CheckpointSource*>& sources,
                       const CheckpointSource::File& file, const std::stop_token& stop) {
  std::vector<CheckpointSource*> asked = {source};
  for (CheckpointSource* const other : sources) {
    if (other != source) asked.push_back(other);
  }
  for (CheckpointSource* const witness : asked) {
    const absl::StatusOr<std::string> sha256 = witness->Sha256Of(file, stop);
    if (sha256.ok()) return *sha256;
    if (!absl::IsNotFound(sha256.status())) {
      MG_LOG(WARNING) << "no SHA-256 file=" << file.name << " source=" << witness->name() << " error=\""
                      << sha256.status().message() << '"';
    }
  }
  MG_LOG(WARNING) << "nobody knows the SHA-256 of file=" << file.name << " source=" << source->name()
                  << ": only samples of it are checked";
  return "";
}

}  // namespace

CachedCheckpoint::~CachedCheckpoint() { close(lock_); }

absl::StatusOr<std::shared_ptr<CachedCheckpoint>> CheckpointCache::Find(const std::string& content) {
  const std::string dir = absl::StrCat(options_.dir, "/", content);
  const absl::Status none = absl::NotFoundError(absl::StrCat("no '", dir, "'"));
  std::error_code error;
  if (!fs::is_directory(dir, error)) return none;
  MG_ASSIGN_OR_RETURN(const int lock, OpenLock(options_.dir, content));
  auto found = std::make_shared<CachedCheckpoint>(dir, lock);
  // It may be removed just now.
  if (flock(lock, LOCK_SH | LOCK_NB) != 0 || !fs::is_directory(dir, error)) return none;
  Touch(dir);
  return found;
}

absl::StatusOr<std::shared_ptr<CachedCheckpoint>> CheckpointCache::Fetch(const std::string& content,
                                                                         const std::vector<CheckpointSource*>& sources,
                                                                         const Progress& progress, std::stop_token stop) {
  std::error_code error;
  fs::create_directories(options_.dir, error);
  if (error) return ErrnoStatus(error.value(), "cannot make", options_.dir);
  MG_ASSIGN_OR_RETURN(const int lock, OpenLock(options_.dir, content));
  const std::string dir = absl::StrCat(options_.dir, "/", content), partial = absl::StrCat(dir, kPartial);
  auto made = std::make_shared<CachedCheckpoint>(dir, lock);
  while (flock(lock, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) return ErrnoStatus(errno, "cannot lock", dir);
    // Who holds it uses the checkpoint, or will soon.
    if (absl::StatusOr<std::shared_ptr<CachedCheckpoint>> found = Find(content); found.ok()) return found;
    MG_RETURN_IF_ERROR(SleepUnlessStopped(kLockPoll, stop));
  }
  if (!fs::is_directory(dir, error)) {
    absl::Status last = absl::NotFoundError("there is nowhere to fetch it from");
    bool fetched = false;
    for (CheckpointSource* const source : sources) {
      const absl::Status status = FetchFrom(source, sources, partial, content, progress, stop);
      fetched = status.ok();
      if (fetched || absl::IsCancelled(status) || absl::IsResourceExhausted(status)) {
        last = status;
        break;
      }
      MG_LOG(WARNING) << "checkpoint not had from source=" << source->name() << " error=\"" << status.message() << '"';
      // What it has and could not give says more than what others do not have.
      if (!absl::IsNotFound(status) || absl::IsNotFound(last)) last = Annotate(status, source->name());
    }
    if (!fetched) return Annotate(last, absl::StrCat("checkpoint ", content));
    fs::rename(partial, dir, error);
    if (error) return ErrnoStatus(error.value(), "cannot rename", partial);
    MG_RETURN_IF_ERROR(SyncFolder(options_.dir));
  }
  Touch(dir);
  if (flock(lock, LOCK_SH) != 0) return ErrnoStatus(errno, "cannot lock", dir);
  return made;
}

absl::Status CheckpointCache::FetchFrom(CheckpointSource* source, const std::vector<CheckpointSource*>& sources,
                                        const std::string& partial, const std::string& content, const Progress& progress,
                                        std::stop_token stop) {
  MG_ASSIGN_OR_RETURN(std::vector<CheckpointSource::File> files, source->List(stop));
  if (files.size() > kFilesMax) {
    return absl::InvalidArgumentError(absl::StrCat("lists ", files.size(), " files, more than ", kFilesMax));
  }
  int64_t total = 0;
  for (const CheckpointSource::File& file : files) {
    if (!IsCheckpointFileName(file.name)) {
      return absl::InvalidArgumentError(absl::StrCat("'", file.name, "' is no name of a checkpoint's file"));
    }
    total += std::max<int64_t>(0, file.size);
    if (total > options_.bytes_max) {
      return absl::ResourceExhaustedError(
          absl::StrCat("it has more than the ", options_.bytes_max, " bytes that the cache may hold"));
    }
  }
  std::error_code error;
  fs::create_directories(partial, error);
  if (error) return ErrnoStatus(error.value(), "cannot make", partial);
  // What an earlier source called a file of it and this one does not.
  for (const auto& entry : fs::directory_iterator(partial, error)) {
    const std::string name = entry.path().filename().string();
    if (std::none_of(files.begin(), files.end(),
                     [&](const auto& f) { return f.name == name || PartName(f.name) == name; })) {
      std::error_code gone;
      fs::remove(entry.path(), gone);
    }
  }
  MG_RETURN_IF_ERROR(MakeRoom(std::max<int64_t>(0, total - BytesIn(partial)), content));
  int64_t done = 0;
  for (CheckpointSource::File& file : files) {
    if (IsWeightsFileName(file.name) && file.sha256.empty()) {
      const bool there = fs::exists(fs::path(partial) / file.name, error);
      if (there || !source->ReadTellsSha256()) file.sha256 = Sha256From(source, sources, file, stop);
    }
    const auto at = [&](int64_t bytes) {
      if (progress) progress(done + bytes, total);
    };
    MG_ASSIGN_OR_RETURN(const int64_t size, FetchFile(source, file, partial, options_.fetch, at, stop));
    done += size;
  }
  MG_RETURN_IF_ERROR(SyncFolder(partial));
  const absl::StatusOr<std::string> is = CheckpointContent(partial);
  if (is.ok() && *is == content) return absl::OkStatus();
  fs::remove_all(partial, error);
  if (!is.ok()) return absl::DataLossError(is.status().message());
  return absl::DataLossError(absl::StrCat("what came is another checkpoint, ", *is));
}

absl::Status CheckpointCache::MakeRoom(int64_t bytes, const std::string& content) {
  struct Entry {
    fs::file_time_type used;
    fs::path path;
    int64_t bytes;
  };
  std::vector<Entry> entries;
  int64_t total = bytes;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(options_.dir, error)) {
    std::error_code gone;
    if (!entry.is_directory(gone)) continue;
    const int64_t size = BytesIn(entry.path());
    total += size;
    if (!absl::StartsWith(entry.path().filename().string(), content)) {
      entries.push_back({entry.last_write_time(gone), entry.path(), size});
    }
  }
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.used < b.used; });
  for (const Entry& entry : entries) {
    if (total <= options_.bytes_max) break;
    std::string id = entry.path.filename().string();
    if (absl::EndsWith(id, kPartial)) id.resize(id.size() - kPartial.size());
    const absl::StatusOr<int> lock = OpenLock(options_.dir, id);
    if (!lock.ok()) continue;
    if (flock(*lock, LOCK_EX | LOCK_NB) == 0) {  // nobody uses or fetches it
      MG_LOG(INFO) << "checkpoint removed from the cache path=" << entry.path.string() << " bytes=" << entry.bytes;
      fs::remove_all(entry.path, error);
      total -= entry.bytes;
    }
    close(*lock);
  }
  if (total <= options_.bytes_max) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat("'", options_.dir, "' is full: ", total, " bytes would be more than ",
                                                   options_.bytes_max, ", and all of it is in use"));
}

}  // namespace merganser
