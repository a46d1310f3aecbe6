#include "worker/engine/device.h"

#include <ATen/detail/CUDAHooksInterface.h>
#include <dlfcn.h>

#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/status_macros.h"
#include "worker/engine/torch_status.h"

namespace merganser {
namespace {

// Loaded for the life of the process: libtorch registers its operators and cannot be taken out
// again.
absl::Status LoadTorchCuda() {
  Dl_info info;
  std::string path = "libtorch_cuda.so";
  if (dladdr(reinterpret_cast<const void*>(&at::globalContext), &info) != 0 &&
      info.dli_fname != nullptr) {
    const std::string cpu_library = info.dli_fname;
    if (const size_t slash = cpu_library.rfind('/'); slash != std::string::npos) {
      path = cpu_library.substr(0, slash + 1) + path;
    }
  }
  if (dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL) != nullptr) return absl::OkStatus();
  const char* error = dlerror();
  return absl::FailedPreconditionError(absl::StrCat("this libtorch cannot use CUDA devices: ",
                                                    error == nullptr ? path : std::string(error)));
}

}  // namespace

absl::StatusOr<c10::Device> ParseDevice(absl::string_view name) {
  if (name == "cpu") return c10::Device(c10::kCPU);
  if (name == "cuda") return c10::Device(c10::kCUDA, 0);
  absl::string_view index_text = name;
  int index = 0;
  if (absl::ConsumePrefix(&index_text, "cuda:") && absl::SimpleAtoi(index_text, &index) &&
      index >= 0 && index < 128) {
    return c10::Device(c10::kCUDA, static_cast<c10::DeviceIndex>(index));
  }
  return absl::InvalidArgumentError(
      absl::StrCat("device '", name, "' is none of cpu, cuda, cuda:N"));
}

absl::Status PrepareDevice(c10::Device device) {
  if (device.is_cpu()) return absl::OkStatus();
  static const absl::Status* const loaded = new absl::Status(LoadTorchCuda());
  MG_RETURN_IF_ERROR(*loaded);
  return CatchTorchStatus("looking for CUDA devices", [&]() -> absl::Status {
    const int found = at::hasCUDA() ? at::detail::getCUDAHooks().deviceCount() : 0;
    if (found == 0)
      return absl::FailedPreconditionError(
          "no CUDA device is visible (driver missing, or none is assigned)");
    if (device.index() >= found) {
      return absl::FailedPreconditionError(
          absl::StrCat("device ", device.str(), " does not exist: ", found,
                       " CUDA device(s) are visible, numbered from 0"));
    }
    // A plan for every new shape costs seconds; flash attention is called directly.
    at::globalContext().setSDPUseCuDNN(false);
    at::globalContext().setAllowBF16ReductionCuBLAS(false, false);
    return absl::OkStatus();
  });
}

}  // namespace merganser
