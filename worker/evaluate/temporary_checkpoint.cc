#include "worker/evaluate/temporary_checkpoint.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "worker/checkpoint/disk_space.h"
#include "worker/evaluate/export.h"

namespace merganser {
namespace {

namespace fs = std::filesystem;

constexpr char kMemoryFolder[] = "/dev/shm";
constexpr char kPrefix[] = "merganser-model-";
constexpr int64_t kSpare = int64_t{256} << 20;  // left free beside a checkpoint in memory

std::string DiskFolder() {
  const char* const temporary = getenv("TMPDIR");
  return temporary != nullptr ? temporary : "/var/tmp";
}

int OpenFolder(const std::string& folder) { return open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC); }

bool IsAt(int fd, const std::string& folder) {
  struct stat held = {}, there = {};
  return fstat(fd, &held) == 0 && lstat(folder.c_str(), &there) == 0 && held.st_ino == there.st_ino &&
         held.st_dev == there.st_dev;
}

// A new folder below `parent`, locked. Between its making and its lock another process may take it for one that was left;
// then the next one is tried.
absl::StatusOr<std::pair<std::string, int>> MakeLocked(const std::string& parent) {
  for (int attempt = 0; attempt < 100; ++attempt) {
    std::string folder = absl::StrCat(parent, "/", kPrefix, "XXXXXX");
    if (mkdtemp(folder.data()) == nullptr) break;
    const int fd = OpenFolder(folder);
    if (fd < 0) continue;
    if (flock(fd, LOCK_EX) == 0 && IsAt(fd, folder)) return std::pair(folder, fd);
    close(fd);
  }
  return absl::ResourceExhaustedError(absl::StrCat("no folder can be made in ", parent));
}

void RemoveLeftIn(const std::string& parent) {
  std::error_code error;
  for (fs::directory_iterator entry(parent, error), end; !error && entry != end; entry.increment(error)) {
    const std::string folder = entry->path().string();
    if (!absl::StartsWith(entry->path().filename().string(), kPrefix)) continue;
    const int fd = OpenFolder(folder);
    if (fd < 0) continue;
    struct stat held = {};
    if (fstat(fd, &held) == 0 && held.st_uid == geteuid() && flock(fd, LOCK_EX | LOCK_NB) == 0) {
      std::error_code failed;
      fs::remove_all(folder, failed);
      MG_LOG(WARNING) << "removed a checkpoint that a killed process left dir=" << folder;
    }
    close(fd);
  }
}

}  // namespace

void TemporaryCheckpoint::RemoveLeft() {
  RemoveLeftIn(kMemoryFolder);
  RemoveLeftIn(DiskFolder());
}

absl::StatusOr<std::unique_ptr<TemporaryCheckpoint>> TemporaryCheckpoint::Write(const Recipe& recipe,
                                                                                const LocalOptions& options,
                                                                                std::stop_token stop) {
  RemoveLeft();  // what it held counts as free
  ExportRequest request;
  request.recipe = recipe;
  MG_ASSIGN_OR_RETURN(const RecipeExportPlan plan, PlanExportOf(request, options));
  const bool fits = FreeBytes(kMemoryFolder).value_or(0) > plan.write_bytes + kSpare;
  MG_ASSIGN_OR_RETURN(const auto made, MakeLocked(fits ? kMemoryFolder : DiskFolder()));
  std::unique_ptr<TemporaryCheckpoint> checkpoint(new TemporaryCheckpoint(made.first, made.second));
  request.out_dir = checkpoint->dir();
  MG_RETURN_IF_ERROR(ExportRecipe(request, options, stop).status());
  return checkpoint;
}

TemporaryCheckpoint::~TemporaryCheckpoint() {
  std::error_code error;
  fs::remove_all(folder_, error);
  close(lock_);
}

}  // namespace merganser
