// The element types of safetensors files.
#ifndef MERGANSER_WORKER_CHECKPOINT_DTYPE_H_
#define MERGANSER_WORKER_CHECKPOINT_DTYPE_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace merganser {

enum class DType {
  kF64,
  kF32,
  kF16,
  kBF16,
  kF8E4M3,  // finite variant ("E4M3FN"): no infinities, NaN is 0x7f and 0xff
  kF8E5M2,
  kI64,
  kI32,
  kI16,
  kI8,
  kU64,
  kU32,
  kU16,
  kU8,
  kBool,
};

// Bytes of one element: 8, 4, 2 or 1.
int64_t SizeOf(DType dtype);

// The safetensors name: "F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2", "I64", ..., "U8",
// "BOOL".
absl::string_view Name(DType dtype);

// The name that config.json uses: "bfloat16", "float32", "float8_e4m3fn", "int64", "bool", ...
absl::string_view ConfigName(DType dtype);

// True for F64, F32, F16, BF16 and the F8 types.
bool IsFloatingPoint(DType dtype);

// The type with that safetensors name (case matters). InvalidArgument, listing the known names, for
// any other.
absl::StatusOr<DType> ParseDType(absl::string_view name);

// The type with that config.json name, with or without "torch." in front. InvalidArgument, listing
// the known names, for any other.
absl::StatusOr<DType> ParseConfigDType(absl::string_view name);

}  // namespace merganser

#endif  // MERGANSER_WORKER_CHECKPOINT_DTYPE_H_
