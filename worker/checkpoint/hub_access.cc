#include "worker/checkpoint/hub_access.h"

#include <algorithm>
#include <filesystem>

#include "worker/checkpoint/path_within.h"

namespace merganser {

bool AllowsHubCache(const ModelLocatorOptions& options) {
  namespace fs = std::filesystem;
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
