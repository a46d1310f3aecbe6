#include "worker/merge/setting_groups.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace merganser {
namespace {

// What is settled for tensors of one part and layer: filters in the order in which they are tried, "" for the rest.
struct Unit {
  std::optional<ModelPart> part;
  int layer = -1;
  std::vector<const NamedTensorSettings*> tensors;
  std::vector<std::pair<std::string, TensorSettings>> rules;
};

// The name within its layer: two layers that agree are then told by the same filters.
std::string NameInLayer(const NamedTensorSettings& tensor) {
  if (tensor.role.part != ModelPart::kLayers) return tensor.name;
  const std::string layer = absl::StrCat(".", tensor.role.layer, ".");
  return tensor.name.substr(tensor.name.find(layer) + layer.size() - 1);
}

bool AllAgree(const std::vector<const NamedTensorSettings*>& tensors) {
  return std::all_of(tensors.begin(), tensors.end(),
                     [&](const NamedTensorSettings* t) { return t->settings == tensors[0]->settings; });
}

// By the filters that were written; false where those do not tell different settings apart.
bool RulesByFilters(const std::vector<std::string>& filters, Unit& unit) {
  std::vector<std::pair<std::string, TensorSettings>> rules;
  std::vector<const NamedTensorSettings*> rest = unit.tensors;
  for (const std::string& filter : filters) {
    std::vector<const NamedTensorSettings*> caught;
    for (const NamedTensorSettings* tensor : rest) {
      if (absl::StrContains(tensor->name, filter)) caught.push_back(tensor);
    }
    if (caught.empty()) continue;
    if (!AllAgree(caught)) return false;
    rules.emplace_back(filter, caught[0]->settings);
    rest.erase(std::remove_if(rest.begin(), rest.end(),
                              [&](const NamedTensorSettings* t) { return absl::StrContains(t->name, filter); }),
               rest.end());
  }
  if (!AllAgree(rest)) return false;
  if (!rest.empty()) rules.emplace_back("", rest[0]->settings);
  unit.rules = std::move(rules);
  return true;
}

void RulesByNames(Unit& unit) {
  for (const NamedTensorSettings* tensor : unit.tensors) unit.rules.emplace_back(NameInLayer(*tensor), tensor->settings);
  // A name that is part of another one must come after it.
  std::stable_sort(unit.rules.begin(), unit.rules.end(),
                   [](const auto& a, const auto& b) { return a.first.size() > b.first.size(); });
}

std::vector<Unit> Units(const SettingsByTensor& tensors) {
  std::vector<Unit> units;
  for (const NamedTensorSettings& tensor : tensors) {
    const auto same = [&](const Unit& unit) { return unit.part == tensor.role.part && unit.layer == tensor.role.layer; };
    auto it = std::find_if(units.begin(), units.end(), same);
    if (it == units.end()) it = units.insert(units.end(), {tensor.role.part, tensor.role.layer});
    it->tensors.push_back(&tensor);
  }
  const auto rank = [](const Unit& unit) {
    return std::pair(unit.part.has_value() ? static_cast<int>(*unit.part) : 9, unit.layer);
  };
  std::stable_sort(units.begin(), units.end(), [&](const Unit& a, const Unit& b) { return rank(a) < rank(b); });
  return units;
}

std::string GroupName(const TensorGroup& group) {
  std::string name = group.parts.empty() ? "others" : std::string(ModelPartName(group.parts[0]));
  if (!group.parts.empty() && group.parts[0] == ModelPart::kLayers) {
    name = group.end_layer - group.first_layer == 1 ? absl::StrCat("layer.", group.first_layer)
                                                    : absl::StrCat("layers.", group.first_layer, "-", group.end_layer - 1);
  }
  return group.filter.empty() ? name : absl::StrCat(name, " ", group.filter);
}

}  // namespace

std::vector<GroupSettings> GroupTensorSettings(const SettingsByTensor& tensors, const std::vector<std::string>& filters) {
  std::vector<GroupSettings> groups;
  if (tensors.empty()) return groups;
  const auto all_agree = [&](const NamedTensorSettings& t) { return t.settings == tensors[0].settings; };
  if (std::all_of(tensors.begin(), tensors.end(), all_agree)) {
    GroupSettings all;
    all.group.name = "all";
    all.source_parameters = tensors[0].settings.sources;
    all.parameters = tensors[0].settings.shared;
    return {all};
  }
  std::vector<Unit> units = Units(tensors);
  for (Unit& unit : units) {
    if (AllAgree(unit.tensors)) {
      unit.rules.emplace_back("", unit.tensors[0]->settings);
    } else if (!RulesByFilters(filters, unit)) {
      RulesByNames(unit);
    }
  }
  for (size_t i = 0; i < units.size();) {
    size_t end = i + 1;
    while (units[i].part == ModelPart::kLayers && end < units.size() && units[end].part == ModelPart::kLayers &&
           units[end].layer == units[end - 1].layer + 1 && units[end].rules == units[i].rules) {
      ++end;
    }
    for (const auto& [filter, settings] : units[i].rules) {
      GroupSettings group;
      if (units[i].part.has_value()) group.group.parts = {*units[i].part};
      if (units[i].part == ModelPart::kLayers) {
        group.group.first_layer = units[i].layer;
        group.group.end_layer = units[end - 1].layer + 1;
      }
      group.group.filter = filter;
      group.group.name = GroupName(group.group);
      group.source_parameters = settings.sources;
      group.parameters = settings.shared;
      groups.push_back(std::move(group));
    }
    i = end;
  }
  return groups;
}

}  // namespace merganser
