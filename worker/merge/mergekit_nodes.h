// Nodes of a mergekit YAML file, checked: keys, values of a type, references to models. Errors are InvalidArgument
// "FILE:LINE: what", with the nearest valid name.
#ifndef MERGANSER_WORKER_MERGE_MERGEKIT_NODES_H_
#define MERGANSER_WORKER_MERGE_MERGEKIT_NODES_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "worker/merge/mergekit_config.h"
#include "yaml-cpp/yaml.h"

namespace merganser {

class MergekitNodes {
 public:
  explicit MergekitNodes(std::string file) : file_(std::move(file)) {}

  absl::Status Error(const YAML::Node& node, absl::string_view what) const;

  // `key:` without a value counts as absent, as in mergekit.
  static bool IsSet(const YAML::Node& node) { return node.IsDefined() && !node.IsNull(); }

  // A map of these keys, each once; `where` and `what` name the node in messages.
  absl::Status CheckKeys(const YAML::Node& node, absl::string_view where, const std::vector<std::string>& known) const;
  absl::StatusOr<std::string> Text(const YAML::Node& node, absl::string_view what) const;  // not empty
  absl::StatusOr<int> Int(const YAML::Node& node, absl::string_view what, int low, int high) const;
  absl::StatusOr<bool> Bool(const YAML::Node& node, absl::string_view what) const;

  // "path[@revision][+lora[@revision]]", or {model, lora}. Unimplemented "FILE:LINE: what": override_architecture.
  absl::StatusOr<MergekitModel> Model(const YAML::Node& node, absl::string_view what) const;

 private:
  absl::Status CheckReference(const YAML::Node& node, absl::string_view text, absl::string_view what) const;
  absl::StatusOr<std::string> Path(const YAML::Node& node, absl::string_view what) const;

  std::string file_;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_MERGEKIT_NODES_H_
