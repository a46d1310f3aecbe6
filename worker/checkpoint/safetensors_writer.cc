#include "worker/checkpoint/safetensors_writer.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "worker/checkpoint/disk_space.h"
#include "worker/checkpoint/safetensors_reader.h"
#include "worker/checkpoint/tensor_view.h"

namespace merganser {
namespace {

constexpr int64_t kDataBytesMax = int64_t{1} << 62;

absl::StatusOr<int64_t> CheckedBytes(const TensorHeader& tensor, const std::string& path) {
  int64_t bytes = SizeOf(tensor.dtype);
  for (int64_t dimension : tensor.shape) {
    if (dimension < 0 || __builtin_mul_overflow(bytes, dimension, &bytes) || bytes > kDataBytesMax) {
      return absl::InvalidArgumentError(absl::StrCat("'", path, "': tensor '", Printable(tensor.name), "': shape ",
                                                     ShapeText(tensor.shape), " is negative or has more than 2^62 bytes"));
    }
  }
  return bytes;
}

// The length prefix and the JSON, padded with spaces so that the data start at a multiple of 8.
absl::StatusOr<std::string> HeaderBytes(const std::vector<TensorHeader>& tensors,
                                        const std::map<std::string, std::string>& metadata, const std::string& path,
                                        int64_t& data_bytes) {
  using Json = nlohmann::ordered_json;
  const auto bad = [&](const TensorHeader& tensor, absl::string_view what) {
    return absl::InvalidArgumentError(absl::StrCat("'", path, "': tensor '", Printable(tensor.name), "' ", what));
  };
  absl::flat_hash_set<absl::string_view> names;
  data_bytes = 0;
  std::string text = "{";
  // Assembled entry by entry: an ordered_json object looks keys up linearly.
  const auto append = [&text](const std::string& key, const Json& value) {
    absl::StrAppend(&text, text.size() > 1 ? "," : "", Json(key).dump(-1, ' ', false, Json::error_handler_t::replace), ":",
                    value.dump(-1, ' ', false, Json::error_handler_t::replace));
  };
  if (!metadata.empty()) append("__metadata__", Json(metadata));
  for (const TensorHeader& tensor : tensors) {
    if (tensor.name == "__metadata__") return bad(tensor, "has a reserved name");
    if (!names.insert(tensor.name).second) return bad(tensor, "appears twice");
    MG_ASSIGN_OR_RETURN(const int64_t bytes, CheckedBytes(tensor, path));
    if (bytes > kDataBytesMax - data_bytes) return bad(tensor, "makes the file larger than 2^62 bytes");
    Json entry;
    entry["dtype"] = std::string(Name(tensor.dtype));
    entry["shape"] = tensor.shape;
    entry["data_offsets"] = {data_bytes, data_bytes + bytes};
    append(tensor.name, entry);
    data_bytes += bytes;
  }
  absl::StrAppend(&text, "}");
  text.append((8 - text.size() % 8) % 8, ' ');
  if (static_cast<int64_t>(text.size()) > kSafetensorsHeaderBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", path, "': the header would take ", text.size(), " bytes, more than ", kSafetensorsHeaderBytesMax));
  }
  const uint64_t length = text.size();
  std::string bytes(sizeof length, '\0');
  std::memcpy(bytes.data(), &length, sizeof length);
  return bytes + text;
}

}  // namespace

int64_t TensorHeader::NumBytes() const {
  int64_t bytes = SizeOf(dtype);
  for (int64_t dimension : shape) bytes *= dimension;
  return bytes;
}

absl::StatusOr<std::unique_ptr<SafetensorsWriter>> SafetensorsWriter::Create(
    const std::string& path, const std::vector<TensorHeader>& tensors, const std::map<std::string, std::string>& metadata) {
  int64_t data_bytes = 0;
  MG_ASSIGN_OR_RETURN(const std::string header, HeaderBytes(tensors, metadata, path, data_bytes));
  std::unique_ptr<SafetensorsWriter> writer(new SafetensorsWriter);
  writer->path_ = path;
  writer->file_bytes_ = static_cast<int64_t>(header.size()) + data_bytes;
  const std::filesystem::path parent = std::filesystem::path(path).parent_path();
  // Devices (/dev/full, /dev/null) say nothing by their folder's free space.
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored) || std::filesystem::is_regular_file(path, ignored)) {
    MG_RETURN_IF_ERROR(
        Annotate(CheckFreeSpace(parent.empty() ? "." : parent.string(), writer->file_bytes_), absl::StrCat("'", path, "'")));
  }
  writer->fd_ = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (writer->fd_ < 0) return ErrnoStatus(errno, "cannot create", path);
  MG_RETURN_IF_ERROR(writer->WriteAll(header.data(), header.size()));
  return writer;
}

SafetensorsWriter::~SafetensorsWriter() {
  if (fd_ < 0) return;
  // Only what Create made: never a device.
  struct stat info;
  const bool regular = fstat(fd_, &info) == 0 && S_ISREG(info.st_mode);
  close(fd_);
  if (regular) unlink(path_.c_str());
}

absl::Status SafetensorsWriter::WriteAll(const void* bytes, size_t size) {
  const char* next = static_cast<const char*>(bytes);
  while (size > 0) {
    const ssize_t n = write(fd_, next, std::min<size_t>(size, size_t{1} << 30));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return WriteErrorStatus(errno, path_, file_bytes_);
    next += n;
    size -= static_cast<size_t>(n);
    written_bytes_ += n;
  }
  return absl::OkStatus();
}

absl::Status SafetensorsWriter::Append(absl::Span<const std::byte> bytes) {
  if (fd_ < 0) return absl::FailedPreconditionError(absl::StrCat("'", path_, "' is already finished"));
  if (static_cast<int64_t>(bytes.size()) > file_bytes_ - written_bytes_) {
    return absl::OutOfRangeError(absl::StrCat("'", path_, "': ", bytes.size(), " more bytes, but only ",
                                              file_bytes_ - written_bytes_, " are left of what the header announces"));
  }
  return WriteAll(bytes.data(), bytes.size());
}

absl::Status SafetensorsWriter::Finish() {
  if (fd_ < 0) return absl::FailedPreconditionError(absl::StrCat("'", path_, "' is already finished"));
  if (written_bytes_ != file_bytes_) {
    return absl::FailedPreconditionError(
        absl::StrCat("'", path_, "': the header announces ", file_bytes_, " bytes, ", written_bytes_, " were written"));
  }
  // Delayed allocation may report a full disk only here.
  if (fsync(fd_) != 0) return WriteErrorStatus(errno, path_, file_bytes_);
  const int fd = fd_;
  fd_ = -1;
  if (close(fd) != 0) {
    const int error = errno;
    unlink(path_.c_str());
    return WriteErrorStatus(error, path_, file_bytes_);
  }
  return absl::OkStatus();
}

}  // namespace merganser
