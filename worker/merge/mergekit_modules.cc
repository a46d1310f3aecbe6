#include "worker/merge/mergekit_modules.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace merganser {
namespace {

constexpr int kDigitsMax = 6;  // of a layer's number

// What stands before the first number between two points, and the number.
std::optional<std::pair<std::string, int>> FirstNumber(absl::string_view name) {
  size_t at = 0;
  for (const absl::string_view part : absl::StrSplit(name, '.')) {
    int number = 0;
    const bool last = at + part.size() == name.size();
    if (at > 0 && !last && !part.empty() && part.size() <= kDigitsMax &&
        std::all_of(part.begin(), part.end(), absl::ascii_isdigit) && absl::SimpleAtoi(part, &number)) {
      return std::pair(std::string(name.substr(0, at - 1)), number);
    }
    at += part.size() + 1;
  }
  return std::nullopt;
}

}  // namespace

std::vector<std::string> ModulePrefixes(absl::string_view module) {
  if (module == "text_decoder" || module == "shared" || module == "default") return {""};
  if (module == "vision_tower") return {"vision_tower.", "model.vision_tower.", "visual.", "model.visual."};
  if (module == "multi_modal_projector") {
    return {"multi_modal_projector.", "model.multi_modal_projector.", "visual.merger.", "model.visual.merger.",
            "model.visual.deepstack_merger_list."};
  }
  return {absl::StrCat(module, "."), absl::StrCat("model.", module, ".")};
}

int ModuleOf(absl::Span<const std::string> modules, absl::string_view tensor_name) {
  int found = -1;
  size_t longest = 0;
  for (size_t m = 0; m < modules.size(); ++m) {
    for (const std::string& prefix : ModulePrefixes(modules[m])) {
      if (!absl::StartsWith(tensor_name, prefix) || (found >= 0 && prefix.size() <= longest)) continue;
      found = static_cast<int>(m);
      longest = prefix.size();
    }
  }
  return found;
}

LayersByPrefix::LayersByPrefix(absl::Span<const std::string> tensor_names) {
  for (const std::string& name : tensor_names) {
    if (const auto number = FirstNumber(name)) {
      int& layers = layers_[number->first];
      layers = std::max(layers, number->second + 1);
    }
  }
}

double LayersByPrefix::At(absl::string_view tensor_name) const {
  const auto number = FirstNumber(tensor_name);
  const auto found = number ? layers_.find(number->first) : layers_.end();
  if (found == layers_.end()) return 0;
  return found->second > 1 ? static_cast<double>(number->second) / (found->second - 1) : 1.0;
}

}  // namespace merganser
