#include "worker/engine/engine_options.h"

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace merganser {
namespace {

absl::Status CheckRange(absl::string_view field, int64_t value, int64_t low, int64_t high) {
  if (value >= low && value <= high) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("engine option ", field, " is ", value, ", not in [", low, ", ", high, "]"));
}

}  // namespace

absl::Status EngineOptions::Validate() const {
  MG_RETURN_IF_ERROR(CheckRange("max_sequences", max_sequences, 1, 4096));
  MG_RETURN_IF_ERROR(CheckRange("max_batch_tokens", max_batch_tokens, 1, 65536));
  MG_RETURN_IF_ERROR(CheckRange("max_length", max_length, 0, int64_t{1} << 24));
  MG_RETURN_IF_ERROR(CheckRange("kv_memory_bytes", kv_memory_bytes, 0, int64_t{1} << 50));
  MG_RETURN_IF_ERROR(CheckRange("max_path_length", max_path_length, 0, 1024));
  MG_RETURN_IF_ERROR(CheckRange("threads", threads, 0, 256));
  return absl::OkStatus();
}

}  // namespace merganser
