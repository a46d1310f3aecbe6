// Read access to one safetensors file.
#ifndef MERGANSER_WORKER_CHECKPOINT_SAFETENSORS_READER_H_
#define MERGANSER_WORKER_CHECKPOINT_SAFETENSORS_READER_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "worker/checkpoint/tensor_view.h"

namespace merganser {

// What a safetensors file holds.
struct SafetensorsContents {
  std::vector<TensorView> tensors;              // in the order of their data
  std::map<std::string, std::string> metadata;  // the header's "__metadata__"
};

// Reads the format from memory; views point into `file`, which must outlive them. `path` is for
// messages only.
//
// The format: 8 bytes header length N (little-endian, at most kSafetensorsHeaderBytesMax) | N bytes
// of JSON object | data. The object maps each tensor name to {"dtype", "shape", "data_offsets":
// [begin, end]}, offsets counted from the start of the data.
//
// Only files that are right in everything are accepted: known element types, no duplicate or
// unknown keys, sizes that match the shapes, and data that the tensors tile without gap or overlap
// up to the end of the file. InvalidArgument naming the file, the tensor and the numbers; DataLoss
// ("truncated") if the file ends before its tensors do.
absl::StatusOr<SafetensorsContents> ParseSafetensors(absl::Span<const std::byte> file, const std::string& path);

inline constexpr int64_t kSafetensorsHeaderBytesMax = 100'000'000;  // the format's own limit

// A file mapped into memory. Immutable, so any thread may use it; views die with it.
class SafetensorsReader {
 public:
  // NotFound, PermissionDenied, and the errors of ParseSafetensors.
  static absl::StatusOr<std::unique_ptr<const SafetensorsReader>> Open(const std::string& path);

  ~SafetensorsReader();
  SafetensorsReader(const SafetensorsReader&) = delete;
  SafetensorsReader& operator=(const SafetensorsReader&) = delete;

  const std::string& path() const { return path_; }
  int64_t file_bytes() const { return static_cast<int64_t>(size_); }
  const std::vector<TensorView>& tensors() const { return contents_.tensors; }
  const std::map<std::string, std::string>& metadata() const { return contents_.metadata; }

  // The tensor of that name, or nullptr. Linear; for tests and small files.
  const TensorView* Find(absl::string_view name) const;

 private:
  SafetensorsReader() = default;

  std::string path_;
  void* mapping_ = nullptr;
  size_t size_ = 0;
  SafetensorsContents contents_;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_CHECKPOINT_SAFETENSORS_READER_H_
