#include "worker/engine/step_recorder.h"

#include <dlfcn.h>

#include <filesystem>
#include <string>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/engine/torch_status.h"

namespace merganser {
namespace {

constexpr char kLibrary[] = "libmerganser-cuda.so";
using Entry = decltype(&merganser_cuda_step_recorder);

absl::StatusOr<Entry> LoadEntry() {
  namespace fs = std::filesystem;
  Dl_info info;
  fs::path folder = ".";
  if (dladdr(reinterpret_cast<const void*>(&MakeStepRecorder), &info) != 0 && info.dli_fname != nullptr) {
    folder = fs::absolute(info.dli_fname).parent_path();
  }
  std::string problems;
  for (const fs::path& path : {folder / kLibrary, folder / "../lib" / kLibrary}) {
    std::error_code error;
    if (!fs::exists(path, error)) {
      absl::StrAppend(&problems, problems.empty() ? "" : "; ", path.lexically_normal().string(), ": no such file");
      continue;
    }
    void* const handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    void* const entry = handle == nullptr ? nullptr : dlsym(handle, "merganser_cuda_step_recorder");
    if (entry == nullptr) return absl::FailedPreconditionError(absl::StrCat("the library for CUDA graphs: ", dlerror()));
    return reinterpret_cast<Entry>(entry);
  }
  return absl::FailedPreconditionError(absl::StrCat("the library for CUDA graphs was not found: ", problems));
}

}  // namespace

absl::StatusOr<std::unique_ptr<StepRecorder>> MakeStepRecorder(c10::Device device) {
  if (device.is_cpu()) return std::make_unique<RepeatingRecorder>();
  static const absl::StatusOr<Entry>* const entry = new absl::StatusOr<Entry>(LoadEntry());
  MG_RETURN_IF_ERROR(entry->status());
  std::unique_ptr<StepRecorder> recorder;
  MG_RETURN_IF_ERROR(CatchTorch("preparing CUDA graphs", [&] { recorder.reset((**entry)(device.index())); }));
  return recorder;
}

}  // namespace merganser
