// Entry for libFuzzer and for the mutation driver: whatever the text, reading mergekit YAML ends in a recipe that settles
// every tensor, or in a message that begins with the file's name.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "worker/merge/merge_plan.h"
#include "worker/merge/mergekit_reader.h"

namespace {

using namespace merganser;

// Any model has these tensors.
const std::vector<std::string>& Names() {
  static const auto* const names = [] {
    auto* all =
        new std::vector<std::string>{"lm_head.weight", "model.embed_tokens.weight", "model.norm.weight", "visual.proj"};
    for (int i = 0; i < 4; ++i) {
      all->push_back(absl::StrCat("model.layers.", i, ".self_attn.q_proj.weight"));
      all->push_back(absl::StrCat("model.layers.", i, ".mlp.up_proj.weight"));
    }
    return all;
  }();
  return *names;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  const auto recipe = ReadMergekitYaml(text, "fuzz.yml", [](const ModelRef&) -> absl::StatusOr<ModelFacts> {
    return ModelFacts{Names(), "bfloat16"};
  });
  if (!recipe.ok()) {
    if (!absl::StartsWith(recipe.status().message(), "fuzz.yml:")) std::abort();
    return 0;
  }
  if (recipe->stacks.empty() || recipe->models.empty()) std::abort();
  for (const Stack& stack : recipe->stacks) {
    if (stack.sources.empty()) std::abort();
    if (stack.method.empty() || !recipe->path.empty()) continue;
    for (const std::string& name : Names()) {
      const int group = GroupOf(stack, RoleOf(name), name);
      if (group < 0 || stack.settings[group].source_parameters.size() != stack.sources.size()) std::abort();
    }
  }
  for (const Hop& hop : recipe->path) {
    if (hop.stack < 0 || hop.stack >= static_cast<int>(recipe->stacks.size()) || hop.layer < 0) std::abort();
  }
  return 0;
}
