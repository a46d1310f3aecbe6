// A named tensor whose bytes belong to somebody else.
#ifndef MERGANSER_WORKER_CHECKPOINT_TENSOR_VIEW_H_
#define MERGANSER_WORKER_CHECKPOINT_TENSOR_VIEW_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "worker/checkpoint/dtype.h"

namespace merganser {

// Row-major, little-endian, without strides. `data` may be misaligned for `dtype` (safetensors
// files written by others do not always align): copy with memcpy, or test the address first. The
// bytes are a read-only mapping; writing to them faults. Valid as long as the SafetensorsReader or
// Checkpoint that gave it.
struct TensorView {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;  // empty: a scalar
  absl::Span<const std::byte> data;

  // Product of the shape. It fits, because readers check it.
  int64_t NumElements() const;
};

// "[2, 3]".
std::string ShapeText(absl::Span<const int64_t> shape);

// A name from a file as error messages show it: special characters escaped, at most 120 bytes of
// it.
std::string Printable(absl::string_view name);

}  // namespace merganser

#endif  // MERGANSER_WORKER_CHECKPOINT_TENSOR_VIEW_H_
