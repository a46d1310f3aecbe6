#include <dlfcn.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "common/base/version.h"
#include "worker/evaluate/local_library.h"

namespace merganser {
namespace {

absl::StatusOr<LocalLibrary*> Load() {
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::path folder = fs::read_symlink("/proc/self/exe", error).parent_path();
  std::string problems;
  for (const fs::path& path : {folder / "../lib/libmerganser-local.so", folder / "libmerganser-local.so"}) {
    if (!fs::exists(path, error)) {
      absl::StrAppend(&problems, problems.empty() ? "" : "; ", path.lexically_normal().string(), ": no such file");
      continue;
    }
    // Read when OpenMP is loaded: threads that spin while they wait starve others on a busy machine (11 instead of
    // thousands of samples per second were seen). A user's own setting stays.
    setenv("OMP_WAIT_POLICY", "passive", /*overwrite=*/0);
    void* const handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) return absl::FailedPreconditionError(absl::StrCat("the library that runs models: ", dlerror()));
    const auto entry = reinterpret_cast<decltype(&merganser_local_library)>(dlsym(handle, "merganser_local_library"));
    LocalLibrary* const library = entry == nullptr ? nullptr : entry(kVersion, GetLogLevel());
    if (library == nullptr) {
      return absl::FailedPreconditionError(absl::StrCat(path.lexically_normal().string(), " is not of version ", kVersion));
    }
    return library;
  }
  return absl::FailedPreconditionError(absl::StrCat("the library that runs models was not found: ", problems));
}

}  // namespace

absl::StatusOr<LocalLibrary*> LoadLocalLibrary() {
  static const absl::StatusOr<LocalLibrary*>* const library = new absl::StatusOr<LocalLibrary*>(Load());
  return *library;
}

}  // namespace merganser
