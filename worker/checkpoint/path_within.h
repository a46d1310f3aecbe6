// Whether a path lies below a folder.
#ifndef MERGANSER_WORKER_CHECKPOINT_PATH_WITHIN_H_
#define MERGANSER_WORKER_CHECKPOINT_PATH_WITHIN_H_

#include <algorithm>
#include <filesystem>

namespace merganser {

// True for `root` itself, too. REQUIRES: both are canonical (std::filesystem::canonical).
inline bool IsWithin(const std::filesystem::path& path, const std::filesystem::path& root) {
  return std::mismatch(root.begin(), root.end(), path.begin(), path.end()).first == root.end();
}

}  // namespace merganser

#endif  // MERGANSER_WORKER_CHECKPOINT_PATH_WITHIN_H_
