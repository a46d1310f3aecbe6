#include "worker/checkpoint/dtype.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace merganser {
namespace {

struct Entry {
  DType dtype;
  absl::string_view name;
  absl::string_view config_name;
  int64_t bytes;
  bool floating_point;
};

constexpr Entry kEntries[] = {
    {DType::kF64, "F64", "float64", 8, true},
    {DType::kF32, "F32", "float32", 4, true},
    {DType::kF16, "F16", "float16", 2, true},
    {DType::kBF16, "BF16", "bfloat16", 2, true},
    {DType::kF8E4M3, "F8_E4M3", "float8_e4m3fn", 1, true},
    {DType::kF8E5M2, "F8_E5M2", "float8_e5m2", 1, true},
    {DType::kI64, "I64", "int64", 8, false},
    {DType::kI32, "I32", "int32", 4, false},
    {DType::kI16, "I16", "int16", 2, false},
    {DType::kI8, "I8", "int8", 1, false},
    {DType::kU64, "U64", "uint64", 8, false},
    {DType::kU32, "U32", "uint32", 4, false},
    {DType::kU16, "U16", "uint16", 2, false},
    {DType::kU8, "U8", "uint8", 1, false},
    {DType::kBool, "BOOL", "bool", 1, false},
};

const Entry& Find(DType dtype) {
  const int i = static_cast<int>(dtype);
  return kEntries[i];
}

constexpr bool InEnumOrder() {
  int i = 0;
  for (const Entry& entry : kEntries) {
    if (static_cast<int>(entry.dtype) != i++) return false;
  }
  return true;
}
static_assert(InEnumOrder(), "kEntries is indexed by DType");

absl::Status Unknown(absl::string_view name, absl::string_view Entry::*member) {
  std::string known;
  for (const Entry& entry : kEntries) absl::StrAppend(&known, known.empty() ? "" : ", ", entry.*member);
  return absl::InvalidArgumentError(absl::StrCat("unknown dtype '", name.substr(0, 40), "' (known: ", known, ")"));
}

}  // namespace

int64_t SizeOf(DType dtype) { return Find(dtype).bytes; }
absl::string_view Name(DType dtype) { return Find(dtype).name; }
absl::string_view ConfigName(DType dtype) { return Find(dtype).config_name; }
bool IsFloatingPoint(DType dtype) { return Find(dtype).floating_point; }

absl::StatusOr<DType> ParseDType(absl::string_view name) {
  for (const Entry& entry : kEntries) {
    if (entry.name == name) return entry.dtype;
  }
  return Unknown(name, &Entry::name);
}

absl::StatusOr<DType> ParseConfigDType(absl::string_view name) {
  const absl::string_view short_name = absl::StripPrefix(name, "torch.");
  for (const Entry& entry : kEntries) {
    if (entry.config_name == short_name) return entry.dtype;
  }
  return Unknown(name, &Entry::config_name);
}

}  // namespace merganser
