#include "worker/engine/device.h"

#include <ATen/DeviceAccelerator.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <dlfcn.h>
#if __has_include(<torch/headeronly/version.h>)
#include <torch/headeronly/version.h>
#endif

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
  if (dladdr(reinterpret_cast<const void*>(&at::globalContext), &info) != 0 && info.dli_fname != nullptr) {
    const std::string cpu_library = info.dli_fname;
    if (const size_t slash = cpu_library.rfind('/'); slash != std::string::npos) {
      path = cpu_library.substr(0, slash + 1) + path;
    }
  }
  if (dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL) == nullptr) {
    const char* error = dlerror();
    return absl::FailedPreconditionError(
        absl::StrCat("this libtorch cannot use CUDA devices: ", error == nullptr ? path : std::string(error)));
  }
  return CatchTorchStatus("preparing libtorch for CUDA devices", []() -> absl::Status {
    // Torch looks once in a process for what it can do with CUDA, and never again.
    if (!at::detail::getCUDAHooks().hasCUDART()) {
      return absl::FailedPreconditionError(
          "this libtorch cannot use CUDA devices: it was asked about them before libtorch_cuda.so was loaded");
    }
    // A plan for every new shape costs seconds; flash attention is called directly.
    at::globalContext().setSDPUseCuDNN(false);
    // Sums in fp32, and products of fp32 numbers as such, whatever the environment says (NVIDIA's containers set
    // TORCH_ALLOW_TF32_CUBLAS_OVERRIDE).
    at::globalContext().setAllowBF16ReductionCuBLAS(false, false);
    at::globalContext().setAllowFP16ReductionCuBLAS(false, false);
    at::globalContext().setFloat32MatmulPrecision("highest");
    return absl::OkStatus();
  });
}

}  // namespace

absl::StatusOr<c10::Device> ParseDevice(absl::string_view name) {
  if (name == "cpu") return c10::Device(c10::kCPU);
  if (name == "cuda") return c10::Device(c10::kCUDA, 0);
  absl::string_view index_text = name;
  int index = 0;
  if (absl::ConsumePrefix(&index_text, "cuda:") && absl::SimpleAtoi(index_text, &index) && index >= 0 && index < 128) {
    return c10::Device(c10::kCUDA, static_cast<c10::DeviceIndex>(index));
  }
  return absl::InvalidArgumentError(absl::StrCat("device '", name, "' is none of cpu, cuda, cuda:N"));
}

absl::Status PrepareDevice(c10::Device device) {
  if (device.is_cpu()) return absl::OkStatus();
  static const absl::Status* const loaded = new absl::Status(LoadTorchCuda());
  MG_RETURN_IF_ERROR(*loaded);
  return CatchTorchStatus("looking for CUDA devices", [&]() -> absl::Status {
    const int found = at::hasCUDA() ? at::detail::getCUDAHooks().deviceCount() : 0;
    if (found == 0) return absl::FailedPreconditionError("no CUDA device is visible (driver missing, or none is assigned)");
    if (device.index() >= found) {
      return absl::FailedPreconditionError(
          absl::StrCat("device ", device.str(), " does not exist: ", found, " CUDA device(s) are visible, numbered from 0"));
    }
    return absl::OkStatus();
  });
}

std::optional<int64_t> FreeMemory([[maybe_unused]] c10::Device device, [[maybe_unused]] bool give_back) {
  std::optional<int64_t> bytes;
#if defined(TORCH_VERSION_MINOR) && (TORCH_VERSION_MAJOR > 2 || TORCH_VERSION_MINOR >= 11)
  // What throws cannot tell either.
  (void)CatchTorch("free memory", [&] {
    if (give_back) at::accelerator::emptyCache();
    bytes = static_cast<int64_t>(at::accelerator::getMemoryInfo(device.index()).first);
  });
#endif
  return bytes;
}

}  // namespace merganser
