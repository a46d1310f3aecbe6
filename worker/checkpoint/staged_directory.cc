#include "worker/checkpoint/staged_directory.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/files.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"

namespace merganser {
namespace {

namespace fs = std::filesystem;

int OpenFolder(const std::string& path) { return open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); }

// Removes `path` unless somebody holds its lock. A process id alone would not do: in containers
// they repeat, and those of other machines on a shared disk mean nothing here.
void RemoveIfAbandoned(const fs::path& path) {
  const int fd = OpenFolder(path.string());
  if (fd < 0) return;
  std::error_code ignored;
  if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
    MG_LOG(INFO) << "removing what an interrupted export left path=" << path.string();
    fs::remove_all(path, ignored);
  }
  close(fd);
}

void RemoveLeftovers(const fs::path& out) {
  const std::string prefix = absl::StrCat(out.filename().string(), ".tmp-");
  std::error_code ignored;
  const fs::path parent = out.has_parent_path() ? out.parent_path() : fs::path(".");
  for (const auto& entry : fs::directory_iterator(parent, ignored)) {
    const std::string name = entry.path().filename().string();
    absl::string_view digits = name;
    int pid = 0;
    if (!absl::ConsumePrefix(&digits, prefix) || !absl::SimpleAtoi(digits, &pid) || pid <= 0) continue;
    const bool alive = pid != getpid() && (kill(pid, 0) == 0 || errno == EPERM);
    if (!alive) RemoveIfAbandoned(entry.path());
  }
}

absl::Status SyncFolder(const std::string& path) {
  const int fd = OpenFolder(path);
  if (fd < 0) return ErrnoStatus(errno, "cannot open", path);
  const int result = fsync(fd);
  const int error = errno;
  close(fd);
  // Some file systems cannot sync folders.
  return result == 0 || error == EINVAL ? absl::OkStatus() : ErrnoStatus(error, "cannot sync", path);
}

absl::Status CheckReplaceable(const std::string& out, bool overwrite, const std::string& marker_file) {
  std::error_code error;
  if (!fs::exists(fs::symlink_status(out, error))) return absl::OkStatus();
  if (!fs::is_directory(fs::symlink_status(out, error))) {
    return absl::AlreadyExistsError(absl::StrCat("'", out, "' exists and is not a directory"));
  }
  const bool empty = fs::is_empty(out, error);
  if (error) return ErrnoStatus(error.value(), "cannot read", out);
  if (empty) return absl::OkStatus();
  if (!overwrite) {
    return absl::AlreadyExistsError(
        absl::StrCat("'", out, "' exists and is not empty; choose another directory, or replace it with --overwrite"));
  }
  if (!fs::exists(fs::path(out) / marker_file, error)) {
    return absl::FailedPreconditionError(
        absl::StrCat("'", out, "' is not overwritten: it holds no ", marker_file, ", so it is not a checkpoint"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<StagedDirectory>> StagedDirectory::Create(const std::string& out_dir, bool overwrite,
                                                                         const std::string& marker_file) {
  fs::path out = fs::path(out_dir).lexically_normal();
  if (!out.has_filename()) out = out.parent_path();  // "dir/"
  if (!out.has_filename() || out.filename() == "." || out.filename() == "..") {
    return absl::InvalidArgumentError(absl::StrCat("'", out_dir, "' is no name for a new directory"));
  }
  // A link to a folder, on a larger disk say: the folder's place is meant, and the link stays.
  std::error_code error;
  if (fs::is_symlink(out, error)) {
    if (!fs::is_directory(out, error)) {
      return absl::AlreadyExistsError(absl::StrCat("'", out.string(), "' is a symbolic link, but not to a directory"));
    }
    out = fs::canonical(out, error);
    if (error) return ErrnoStatus(error.value(), "cannot resolve", out_dir);
  }
  MG_RETURN_IF_ERROR(CheckReplaceable(out.string(), overwrite, marker_file));
  RemoveLeftovers(out);
  std::unique_ptr<StagedDirectory> staged(new StagedDirectory);
  staged->out_ = out.string();
  staged->overwrite_ = overwrite;
  const std::string path = absl::StrCat(out.string(), ".tmp-", getpid());
  if (mkdir(path.c_str(), 0755) != 0) {
    if (errno == EEXIST) {
      return absl::AlreadyExistsError(
          absl::StrCat("'", path, "' exists: another export to '", out.string(), "' is under way"));
    }
    return ErrnoStatus(errno, "cannot create", path);
  }
  staged->path_ = path;
  staged->lock_fd_ = OpenFolder(path);
  if (staged->lock_fd_ < 0) return ErrnoStatus(errno, "cannot open", path);
  // EWOULDBLOCK: another process took the new folder for a leftover. Errors of file systems without
  // locks do not matter.
  if (flock(staged->lock_fd_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    return absl::AlreadyExistsError(absl::StrCat("another export to '", out.string(), "' is under way"));
  }
  return staged;
}

StagedDirectory::~StagedDirectory() {
  std::error_code ignored;
  if (!path_.empty()) fs::remove_all(path_, ignored);
  if (lock_fd_ >= 0) close(lock_fd_);
}

absl::Status StagedDirectory::Commit() {
  MG_RETURN_IF_ERROR(SyncFolder(path_));
  std::error_code error;
  const bool replace = overwrite_ && fs::exists(out_, error) && !fs::is_empty(out_, error);
  if (!replace) {
    // An empty folder gives way to a rename; one that somebody filled meanwhile does not.
    if (rename(path_.c_str(), out_.c_str()) != 0) {
      if (errno == ENOTEMPTY || errno == EEXIST) {
        return absl::AlreadyExistsError(absl::StrCat("'", out_, "' has been filled meanwhile"));
      }
      return ErrnoStatus(errno, "cannot rename to", out_);
    }
    path_.clear();
  } else if (renameat2(AT_FDCWD, path_.c_str(), AT_FDCWD, out_.c_str(), RENAME_EXCHANGE) != 0) {
    if (errno != EINVAL && errno != ENOSYS) return ErrnoStatus(errno, "cannot exchange with", out_);
    // File systems without exchange: two renames, and back if the second fails.
    const std::string old = absl::StrCat(path_, ".old");
    if (rename(out_.c_str(), old.c_str()) != 0) return ErrnoStatus(errno, "cannot rename", out_);
    if (rename(path_.c_str(), out_.c_str()) != 0) {
      const int second = errno;
      if (rename(old.c_str(), out_.c_str()) != 0) {
        return ErrnoStatus(second, absl::StrCat("what was there is now '", old, "'; cannot rename to"), out_);
      }
      return ErrnoStatus(second, "cannot rename to", out_);
    }
    path_ = old;
  }
  // After an exchange `path_` is what was at `out_` before; the destructor removes it.
  const fs::path parent = fs::path(out_).parent_path();
  return SyncFolder(parent.empty() ? "." : parent.string());
}

}  // namespace merganser
