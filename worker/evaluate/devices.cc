#include "worker/evaluate/devices.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/engine/device.h"

namespace merganser {

absl::StatusOr<std::string> DeviceOf(const LocalOptions& options) {
  if (options.device == "auto") {
    const absl::StatusOr<c10::Device> cuda = ParseDevice("cuda");
    return cuda.ok() && PrepareDevice(*cuda).ok() ? "cuda:0" : "cpu";
  }
  MG_ASSIGN_OR_RETURN(const c10::Device device, ParseDevice(options.device));
  MG_RETURN_IF_ERROR(PrepareDevice(device));
  return device.str();
}

absl::StatusOr<ComputeType> ComputeOf(const LocalOptions& options, const std::string& device) {
  const bool cpu = device == "cpu";
  if (options.compute == "auto") return ComputeType::kAuto;
  if (options.compute == "fp32") return ComputeType::kFp32;
  if (options.compute == "bf16") return cpu ? ComputeType::kBf16Products : ComputeType::kBf16;
  if (options.compute == "fp16" && !cpu) return ComputeType::kFp16;
  if (options.compute == "fp16")
    return absl::InvalidArgumentError("compute fp16 is for a GPU; on the CPU there are fp32 and bf16");
  return absl::InvalidArgumentError(absl::StrCat("compute '", options.compute, "' is none of auto, fp32, bf16, fp16"));
}

int SequencesOf(const LocalOptions& options, const std::string& device, int64_t samples) {
  constexpr int64_t kGpuSequences = 256;
  if (options.max_sequences > 0) return options.max_sequences;
  const int64_t least = EngineOptions{}.max_sequences;
  return static_cast<int>(device == "cpu" ? least : std::clamp(samples, least, kGpuSequences));
}

}  // namespace merganser
