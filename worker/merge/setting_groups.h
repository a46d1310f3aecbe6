// Settings that are known tensor by tensor, as the groups of a recipe.
#ifndef MERGANSER_WORKER_MERGE_SETTING_GROUPS_H_
#define MERGANSER_WORKER_MERGE_SETTING_GROUPS_H_

#include <map>
#include <string>
#include <vector>

#include "common/domain/recipe.h"
#include "worker/checkpoint/tensor_role.h"

namespace merganser {

struct TensorSettings {
  std::vector<std::map<std::string, double>> sources;  // per source
  std::map<std::string, double> shared;
  bool operator==(const TensorSettings&) const = default;
};

struct NamedTensorSettings {
  std::string name;
  TensorRole role;
  TensorSettings settings;
};
using SettingsByTensor = std::vector<NamedTensorSettings>;

// Groups that give each of these tensors its settings, few where many tensors agree: one for everything, else by part and
// runs of layers, within those by `filters` (substrings that somebody wrote; tried in their order), and by the tensors' own
// names where nothing else tells them apart. Names of tensors are unique.
std::vector<GroupSettings> GroupTensorSettings(const SettingsByTensor& tensors, const std::vector<std::string>& filters);

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_SETTING_GROUPS_H_
