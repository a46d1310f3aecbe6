#include "worker/merge/mergekit_nodes.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/closest_name.h"
#include "common/base/status_macros.h"
#include "common/base/yaml_text.h"
#include "worker/merge/mergekit_words.h"

namespace merganser {

absl::Status MergekitNodes::Error(const YAML::Node& node, absl::string_view what) const {
  return absl::InvalidArgumentError(absl::StrCat(file_, ":", Line(node), ": ", what));
}

absl::Status MergekitNodes::CheckKeys(const YAML::Node& node, absl::string_view where,
                                      const std::vector<std::string>& known) const {
  if (!node.IsMap()) return Error(node, absl::StrCat(where, " must be a map, not ", KindOf(node)));
  std::set<std::string> seen;
  for (const auto& entry : node) {
    if (!entry.first.IsScalar()) return Error(entry.first, absl::StrCat(where, " has a key that is ", KindOf(entry.first)));
    const std::string key = entry.first.Scalar();
    if (!seen.insert(key).second) return Error(entry.first, absl::StrCat("key '", key, "' of ", where, " is given twice"));
    if (!Contains(known, key)) {
      return Error(entry.first, absl::StrCat("unknown key '", key, "' of ", where, DidYouMean(key, known)));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> MergekitNodes::Text(const YAML::Node& node, absl::string_view what) const {
  if (!node.IsScalar()) return Error(node, absl::StrCat(what, " must be a single value, not ", KindOf(node)));
  if (node.Scalar().empty()) return Error(node, absl::StrCat(what, " is empty"));
  return node.Scalar();
}

absl::StatusOr<int> MergekitNodes::Int(const YAML::Node& node, absl::string_view what, int low, int high) const {
  int value = 0;
  if (!node.IsScalar() || !absl::SimpleAtoi(node.Scalar(), &value) || value < low || value > high) {
    return Error(node, absl::StrCat(what, " ", node.IsScalar() ? absl::StrCat("'", node.Scalar(), "'") : KindOf(node),
                                    " is not a whole number in [", low, ", ", high, "]"));
  }
  return value;
}

absl::StatusOr<bool> MergekitNodes::Bool(const YAML::Node& node, absl::string_view what) const {
  bool value = false;
  if (!node.IsScalar() || !YAML::convert<bool>::decode(node, value)) {
    return Error(node, absl::StrCat(what, " is neither true nor false"));
  }
  return value;
}

// "name" or "name@revision"; `what` is for messages.
absl::Status MergekitNodes::CheckReference(const YAML::Node& node, absl::string_view text, absl::string_view what) const {
  if (text.empty()) return Error(node, absl::StrCat(what, " has an empty name"));
  if (std::count(text.begin(), text.end(), '@') > 1) {
    return Error(node, absl::StrCat(what, " '", text, "' has more than one '@'"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> MergekitNodes::Path(const YAML::Node& node, absl::string_view what) const {
  if (node.IsScalar()) return Text(node, what);
  MG_RETURN_IF_ERROR(CheckKeys(node, what, {"path", "revision"}));
  if (!IsSet(node["path"])) return Error(node, absl::StrCat(what, " has no path"));
  MG_ASSIGN_OR_RETURN(std::string path, Text(node["path"], "path"));
  if (!IsSet(node["revision"])) return path;
  MG_ASSIGN_OR_RETURN(const std::string revision, Text(node["revision"], "revision"));
  return absl::StrCat(path, "@", revision);
}

absl::StatusOr<MergekitModel> MergekitNodes::Model(const YAML::Node& node, absl::string_view what) const {
  MergekitModel model;
  model.line = Line(node);
  if (node.IsScalar()) {
    MG_ASSIGN_OR_RETURN(const std::string text, Text(node, what));
    const size_t plus = text.find('+');
    model.path = text.substr(0, plus);
    if (plus != std::string::npos) {
      model.lora = text.substr(plus + 1);
      if (absl::StrContains(model.lora, "+")) return Error(node, absl::StrCat(what, " '", text, "' has more than one '+'"));
      MG_RETURN_IF_ERROR(CheckReference(node, model.lora, what));
    }
  } else {
    MG_RETURN_IF_ERROR(CheckKeys(node, what, {"model", "lora", "override_architecture"}));
    if (IsSet(node["override_architecture"])) {
      return absl::UnimplementedError(
          absl::StrCat(file_, ":", Line(node["override_architecture"]),
                       ": override_architecture: architectures are read off the checkpoints here; leave it out"));
    }
    if (!IsSet(node["model"])) return Error(node, absl::StrCat(what, " has no model"));
    MG_ASSIGN_OR_RETURN(model.path, Path(node["model"], "model"));
    if (IsSet(node["lora"])) {
      MG_ASSIGN_OR_RETURN(model.lora, Path(node["lora"], "lora"));
      MG_RETURN_IF_ERROR(CheckReference(node["lora"], model.lora, "lora"));
    }
  }
  MG_RETURN_IF_ERROR(CheckReference(node, model.path, what));
  return model;
}

}  // namespace merganser
