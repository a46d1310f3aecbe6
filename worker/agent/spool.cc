#include "worker/agent/spool.h"

#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/log.h"
#include "common/base/sha256.h"
#include "common/base/status_macros.h"
#include "common/domain/limits.h"

namespace merganser {
namespace fs = std::filesystem;

constexpr char kSuffix[] = ".record";

Spool::Spool(std::string directory, int64_t bytes_max) : directory_(std::move(directory)), bytes_max_(bytes_max) {}

// Keys hold what a coordinator sent, so a file is named by the key's digest.
std::string Spool::Path(const std::string& record_key) const {
  return absl::StrCat(directory_, "/", Sha256Hex(record_key), kSuffix);
}

absl::Status Spool::Probe() const {
  if (directory_.empty()) return absl::OkStatus();
  std::error_code error;
  fs::create_directories(directory_, error);
  if (error) return ErrnoStatus(error.value(), "cannot make the spool folder", directory_);
  const std::string path = absl::StrCat(directory_, "/probe-", RandomToken().substr(0, 8));
  MG_RETURN_IF_ERROR(WriteFileAtomically(path, "x"));
  fs::remove(path, error);
  return absl::OkStatus();
}

absl::Status Spool::Put(const std::string& record_key, absl::string_view record) {
  if (directory_.empty()) return absl::FailedPreconditionError("there is no spool folder");
  const std::string path = Path(record_key);
  if (sizes_.contains(path)) return absl::OkStatus();
  const auto size = static_cast<int64_t>(record.size());
  if (bytes_ + size > bytes_max_) {
    return absl::ResourceExhaustedError(
        absl::StrCat("spool '", directory_, "' holds ", bytes_, " bytes; ", size, " more would pass ", bytes_max_));
  }
  std::error_code error;
  fs::create_directories(directory_, error);
  MG_RETURN_IF_ERROR(WriteFileAtomically(path, record));
  sizes_[path] = size;
  bytes_ += size;
  return absl::OkStatus();
}

absl::StatusOr<std::string> Spool::Get(const std::string& record_key) const {
  return ReadFile(Path(record_key), limits::kRecordBytesMax);
}

void Spool::Remove(const std::string& record_key) {
  const auto it = directory_.empty() ? sizes_.end() : sizes_.find(Path(record_key));
  if (it == sizes_.end()) return;
  std::error_code error;
  fs::remove(it->first, error);
  bytes_ -= it->second;
  sizes_.erase(it);
}

std::vector<std::string> Spool::LoadAll() {
  std::vector<std::string> records;
  if (directory_.empty()) return records;
  std::error_code error;
  for (fs::directory_iterator it(directory_, error), end; !error && it != end; it.increment(error)) {
    if (it->path().extension() != kSuffix) continue;
    const std::string path = it->path().string();
    absl::StatusOr<std::string> record = ReadFile(path, limits::kRecordBytesMax);
    if (!record.ok()) {
      MG_LOG(ERROR) << "spool file unreadable error=\"" << record.status().message() << '"';
      continue;
    }
    sizes_[path] = static_cast<int64_t>(record->size());
    bytes_ += static_cast<int64_t>(record->size());
    records.push_back(*std::move(record));
  }
  return records;
}

}  // namespace merganser
