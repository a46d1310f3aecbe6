#include "worker/merge/mergekit_parameters.h"

#include <cmath>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/closest_name.h"
#include "common/base/status_macros.h"
#include "common/base/yaml_text.h"
#include "common/domain/job_spec.h"
#include "common/domain/merge_method_spec.h"
#include "worker/merge/mergekit_words.h"

namespace merganser {
namespace {

class Parser {
 public:
  Parser(const MergekitNodes& nodes, const std::string& method) : nodes_(nodes), method_(method) {}

  absl::Status Parse(const YAML::Node& node, bool of_one_model, MergekitSettings& settings) const {
    if (!node.IsMap()) return nodes_.Error(node, absl::StrCat("parameters must be a map, not ", KindOf(node)));
    const MethodSignature* method = FindMethod(method_);
    std::vector<std::string> known;
    if (method != nullptr) {
      known = method->source_parameters;
      if (!of_one_model) known.insert(known.end(), method->parameters.begin(), method->parameters.end());
    }
    for (const auto& entry : node) {
      if (!entry.first.IsScalar()) return nodes_.Error(entry.first, "a parameter's name must be a single value");
      const std::string name = entry.first.Scalar();
      if (settings.count(name) > 0) return nodes_.Error(entry.first, absl::StrCat("parameter '", name, "' is given twice"));
      if (HasNoEffect(method_, name)) continue;
      if (!Contains(known, name)) {
        if (of_one_model && method != nullptr && Contains(method->parameters, name)) {
          return nodes_.Error(entry.first,
                              absl::StrCat("parameter '", name, "' of ", method_,
                                           " is one of the merge, not of a model; move it to the outer parameters"));
        }
        if (known.empty()) return nodes_.Error(entry.first, absl::StrCat(method_, " takes no parameter '", name, "'"));
        return nodes_.Error(entry.first, absl::StrCat(method_, " takes no parameter '", name, "'", DidYouMean(name, known)));
      }
      if (!MergekitNodes::IsSet(entry.second))
        return nodes_.Error(entry.first, absl::StrCat("parameter '", name, "' has no value"));
      MG_RETURN_IF_ERROR(ParseSetting(entry.second, name, settings[name]));
    }
    return absl::OkStatus();
  }

 private:
  // One number within the parameter's bounds; booleans are 0 and 1.
  absl::StatusOr<double> Number(const YAML::Node& node, absl::string_view parameter, bool& is_boolean) const {
    is_boolean = false;
    if (!node.IsScalar()) return nodes_.Error(node, absl::StrCat(parameter, ": expected a number, not ", KindOf(node)));
    double value = 0;
    bool boolean = false;
    if (absl::SimpleAtod(node.Scalar(), &value)) {
      if (!std::isfinite(value)) return nodes_.Error(node, absl::StrCat(parameter, ": ", node.Scalar(), " is not finite"));
      const MethodParameter* known = FindMethodSpec(method_)->Find(parameter);
      const absl::Status checked = known == nullptr ? absl::OkStatus() : CheckValue(*known, value);
      return checked.ok() ? absl::StatusOr<double>(value) : nodes_.Error(node, checked.message());
    }
    if (YAML::convert<bool>::decode(node, boolean)) {
      is_boolean = true;
      return boolean ? 1.0 : 0.0;
    }
    return nodes_.Error(node, absl::StrCat(parameter, ": '", node.Scalar(), "' is neither a number nor true or false"));
  }

  absl::Status ParseValues(const YAML::Node& node, absl::string_view parameter, MergekitSetting::Entry& entry) const {
    if (!node.IsSequence()) {
      MG_ASSIGN_OR_RETURN(const double value, Number(node, parameter, entry.steps));
      entry.values = {value};
      return absl::OkStatus();
    }
    if (node.size() == 0) return nodes_.Error(node, absl::StrCat(parameter, ": an empty list"));
    for (const YAML::Node& item : node) {
      bool is_boolean = false;
      MG_ASSIGN_OR_RETURN(const double value, Number(item, parameter, is_boolean));
      if (!entry.values.empty() && is_boolean != entry.steps) {
        return nodes_.Error(item, absl::StrCat(parameter, ": numbers and booleans in one list"));
      }
      entry.values.push_back(value);
      entry.steps = is_boolean;
    }
    return absl::OkStatus();
  }

  absl::Status ParseFiltered(const YAML::Node& node, const std::string& parameter, MergekitSetting& setting) const {
    MG_RETURN_IF_ERROR(nodes_.CheckKeys(node, parameter, {"filter", "value"}));
    MergekitSetting::Entry entry{.line = Line(node)};
    if (MergekitNodes::IsSet(node["filter"])) {
      MG_ASSIGN_OR_RETURN(entry.filter, nodes_.Text(node["filter"], "filter"));
      if (entry.filter == "*") entry.filter.clear();
    }
    if (!MergekitNodes::IsSet(node["value"]))
      return nodes_.Error(node, absl::StrCat(parameter, ": a filter without a value"));
    if (!setting.entries.empty() && setting.entries.back().filter.empty()) {
      return nodes_.Error(node, absl::StrCat(parameter, ": no tensor gets here, because the entry before takes all"));
    }
    MG_RETURN_IF_ERROR(ParseValues(node["value"], parameter, entry));
    setting.entries.push_back(std::move(entry));
    return absl::OkStatus();
  }

  absl::Status ParseSetting(const YAML::Node& node, const std::string& parameter, MergekitSetting& setting) const {
    setting.line = Line(node);
    if (node.IsMap()) return ParseFiltered(node, parameter, setting);
    const bool filtered = node.IsSequence() && node.size() > 0 && node[0].IsMap();
    if (!filtered) {
      MergekitSetting::Entry entry;
      MG_RETURN_IF_ERROR(ParseValues(node, parameter, entry));
      setting.entries.push_back(std::move(entry));
      return absl::OkStatus();
    }
    for (const YAML::Node& item : node) {
      if (!item.IsMap()) {
        return nodes_.Error(item, absl::StrCat(parameter, ": ", KindOf(item), " among {filter, value}; write {value: ...}"));
      }
      MG_RETURN_IF_ERROR(ParseFiltered(item, parameter, setting));
    }
    return absl::OkStatus();
  }

  const MergekitNodes& nodes_;
  const std::string& method_;
};

}  // namespace

absl::Status ParseMergekitParameters(const MergekitNodes& nodes, const std::string& method, const YAML::Node& node,
                                     bool of_one_model, MergekitSettings& settings) {
  return Parser(nodes, method).Parse(node, of_one_model, settings);
}

}  // namespace merganser
