#include "worker/checkpoint/hub_access.h"

#include <algorithm>
#include <filesystem>

namespace merganser {
namespace {

namespace fs = std::filesystem;

bool IsWithin(const fs::path& path, const fs::path& root) {
  return std::mismatch(root.begin(), root.end(), path.begin(), path.end()).first == root.end();
}

}  // namespace

bool AllowsHubCache(const ModelLocatorOptions& options) {
  if (options.model_roots.empty()) return true;
  if (options.hub_cache.empty()) return false;
  std::error_code error;
  const fs::path cache = fs::weakly_canonical(options.hub_cache, error);
  if (error) return false;
  return std::any_of(options.model_roots.begin(), options.model_roots.end(), [&](const std::string& root) {
    std::error_code missing;
    const fs::path canonical = fs::canonical(root, missing);
    return !missing && (IsWithin(cache, canonical) || IsWithin(canonical, cache));
  });
}

}  // namespace merganser
