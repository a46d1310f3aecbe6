// Helpers shared by the files that read mergekit's YAML; nobody else includes this.
#ifndef MERGANSER_WORKER_MERGE_MERGEKIT_WORDS_H_
#define MERGANSER_WORKER_MERGE_MERGEKIT_WORDS_H_

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "yaml-cpp/yaml.h"

namespace merganser {

// Parameters that mergekit takes and that change nothing in what it computes: task_arithmetic thins nothing out.
inline bool HasNoEffect(absl::string_view method, absl::string_view parameter) {
  return parameter == "int8_mask" || (method == "task_arithmetic" && (parameter == "density" || parameter == "rescale"));
}

inline int Line(const YAML::Node& node) { return node.Mark().line + 1; }

inline bool Contains(const std::vector<std::string>& names, absl::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_MERGEKIT_WORDS_H_
