// Writes one safetensors file, tensor after tensor, without holding it in memory.
#ifndef MERGANSER_WORKER_CHECKPOINT_SAFETENSORS_WRITER_H_
#define MERGANSER_WORKER_CHECKPOINT_SAFETENSORS_WRITER_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "worker/checkpoint/dtype.h"

namespace merganser {

// A tensor without its bytes.
struct TensorHeader {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;  // row-major
  // Bytes of the tensor. REQUIRES: a shape that SafetensorsWriter accepts.
  int64_t NumBytes() const;
};

// Not thread-safe. The file is complete when Finish has returned OK; a writer that is destroyed
// before that removes it.
class SafetensorsWriter {
 public:
  // Creates `path` (replacing a file of that name) and writes the header; the data follow in the
  // order of `tensors`. The data start is 8-byte aligned. Fails before anything is written if the
  // file does not fit on the disk. InvalidArgument: a duplicate or reserved name, a negative size,
  // more than 2^62 bytes together, a header longer than the format allows. ResourceExhausted: disk
  // full (names file, wanted and free bytes). NotFound: no such folder. PermissionDenied.
  static absl::StatusOr<std::unique_ptr<SafetensorsWriter>> Create(const std::string& path,
                                                                   const std::vector<TensorHeader>& tensors,
                                                                   const std::map<std::string, std::string>& metadata = {
                                                                       {"format", "pt"}});

  ~SafetensorsWriter();
  SafetensorsWriter(const SafetensorsWriter&) = delete;
  SafetensorsWriter& operator=(const SafetensorsWriter&) = delete;

  // Appends bytes: of the first tensor, then the second, ...; a call may hold any part of a tensor
  // or of several. OutOfRange if they are more than the header announced; ResourceExhausted as in
  // Create. After an error only destruction is left.
  absl::Status Append(absl::Span<const std::byte> bytes);

  // Syncs to the disk and closes. FailedPrecondition (names announced and written bytes) if data
  // are missing.
  absl::Status Finish();

  // Bytes of the whole file, header included.
  int64_t file_bytes() const { return file_bytes_; }

 private:
  SafetensorsWriter() = default;
  absl::Status WriteAll(const void* bytes, size_t size);

  std::string path_;
  int fd_ = -1;
  int64_t file_bytes_ = 0;
  int64_t written_bytes_ = 0;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_CHECKPOINT_SAFETENSORS_WRITER_H_
