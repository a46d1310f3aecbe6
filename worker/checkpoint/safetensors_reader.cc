#include "worker/checkpoint/safetensors_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "worker/checkpoint/safetensors_header.h"

namespace merganser {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors data is used as it lies in the file");

constexpr int64_t kPrefixBytes = 8;

// The entries, sorted by offset, must cover [0, data_bytes) without gap or overlap.
absl::Status CheckTiling(std::vector<SafetensorsEntry>& entries, int64_t data_bytes, const std::string& path) {
  // Empty tensors share their offset with their neighbour, so the end is compared too.
  std::stable_sort(entries.begin(), entries.end(),
                   [](const auto& a, const auto& b) { return std::pair(a.begin, a.end) < std::pair(b.begin, b.end); });
  int64_t position = 0;
  for (const SafetensorsEntry& entry : entries) {
    if (entry.begin != position) {
      return absl::InvalidArgumentError(
          absl::StrCat("'", path, "': tensor '", Printable(entry.name), "' starts at byte ", entry.begin, " of the data, ",
                       entry.begin > position ? "a gap behind" : "an overlap with", " the previous end at ", position));
    }
    position = entry.end;
  }
  if (position > data_bytes) {
    const auto first =
        std::find_if(entries.begin(), entries.end(), [&](const auto& entry) { return entry.end > data_bytes; });
    return absl::DataLossError(absl::StrCat("'", path, "' is truncated: its tensors need ", position, " bytes of data, ",
                                            data_bytes, " are present; the first incomplete one is '",
                                            Printable(first->name), "' with ", first->end - first->begin,
                                            " bytes, of which ", std::max<int64_t>(0, data_bytes - first->begin),
                                            " are present (an interrupted download or copy: fetch the file again)"));
  }
  if (position < data_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", path, "': ", data_bytes - position, " bytes follow the last tensor"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<SafetensorsContents> ParseSafetensors(absl::Span<const std::byte> file, const std::string& path) {
  const int64_t file_bytes = static_cast<int64_t>(file.size());
  if (file_bytes < kPrefixBytes) {
    return absl::DataLossError(
        absl::StrCat("'", path, "' is truncated: ", file_bytes, " bytes, less than the 8 bytes of the header's length"));
  }
  const absl::string_view text(reinterpret_cast<const char*>(file.data()), file.size());
  if (absl::StartsWith(text, "version https://git-lfs")) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", path, "' is a Git LFS pointer, not the weights; run `git lfs pull` in its folder"));
  }
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, file.data(), sizeof header_bytes);
  if (header_bytes > uint64_t{kSafetensorsHeaderBytesMax}) {
    return absl::InvalidArgumentError(absl::StrCat("'", path, "': header length ", header_bytes, " is more than ",
                                                   kSafetensorsHeaderBytesMax, "; not a safetensors file"));
  }
  const int64_t data_start = kPrefixBytes + static_cast<int64_t>(header_bytes);
  if (data_start > file_bytes) {
    return absl::DataLossError(absl::StrCat("'", path, "' is truncated: the header takes ", header_bytes, " bytes, ",
                                            file_bytes - kPrefixBytes, " are present"));
  }
  const absl::string_view json = text.substr(kPrefixBytes, header_bytes);
  if (json.empty() || json[0] != '{') {
    return absl::InvalidArgumentError(absl::StrCat("'", path, "': the header does not start with '{'"));
  }
  MG_ASSIGN_OR_RETURN(SafetensorsHeader header, ParseSafetensorsHeader(json, path));
  MG_RETURN_IF_ERROR(CheckTiling(header.entries, file_bytes - data_start, path));

  SafetensorsContents contents;
  contents.metadata = std::move(header.metadata);
  contents.tensors.reserve(header.entries.size());
  for (SafetensorsEntry& entry : header.entries) {
    contents.tensors.push_back({std::move(entry.name), entry.dtype, std::move(entry.shape),
                                file.subspan(data_start + entry.begin, entry.end - entry.begin)});
  }
  return contents;
}

absl::StatusOr<std::unique_ptr<const SafetensorsReader>> SafetensorsReader::Open(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return ErrnoStatus(errno, "cannot open", path);
  struct stat info;
  if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    close(fd);
    return absl::InvalidArgumentError(absl::StrCat("'", path, "' is not a regular file"));
  }
  std::unique_ptr<SafetensorsReader> reader(new SafetensorsReader);
  reader->path_ = path;
  reader->size_ = static_cast<size_t>(info.st_size);
  if (reader->size_ > 0) {
    void* mapping = mmap(nullptr, reader->size_, PROT_READ, MAP_PRIVATE, fd, 0);
    if (mapping == MAP_FAILED) {
      const int error = errno;
      close(fd);
      return ErrnoStatus(error, "cannot map", path);
    }
    reader->mapping_ = mapping;
  }
  close(fd);
  MG_ASSIGN_OR_RETURN(
      reader->contents_,
      ParseSafetensors(absl::MakeConstSpan(static_cast<const std::byte*>(reader->mapping_), reader->size_), path));
  return std::unique_ptr<const SafetensorsReader>(std::move(reader));
}

SafetensorsReader::~SafetensorsReader() {
  if (mapping_ != nullptr) munmap(mapping_, size_);
}

const TensorView* SafetensorsReader::Find(absl::string_view name) const {
  for (const TensorView& tensor : tensors()) {
    if (tensor.name == name) return &tensor;
  }
  return nullptr;
}

}  // namespace merganser
