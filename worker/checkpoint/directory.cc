#include "worker/checkpoint/directory.h"

#include "absl/strings/str_cat.h"

namespace merganser {

bool Exists(const std::filesystem::path& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

absl::Status CheckDirectory(const std::string& dir) {
  std::error_code ignored;
  if (std::filesystem::is_directory(dir, ignored)) return absl::OkStatus();
  if (Exists(dir)) return absl::InvalidArgumentError(absl::StrCat("'", dir, "' is not a directory"));
  return absl::NotFoundError(absl::StrCat("no directory '", dir, "'"));
}

}  // namespace merganser
