#include "coordinator/search_space/winner_start.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "coordinator/search_space/recipe_frame.h"

namespace merganser {
namespace {

// Whether every tensor of `fine` belongs to `coarse`, as far as groups of one job go.
bool Covers(const TensorGroup& coarse, const TensorGroup& fine) {
  if (!coarse.filter.empty() && coarse.filter != fine.filter) return false;
  for (const ModelPart part : fine.parts) {
    if (!coarse.parts.empty() && std::find(coarse.parts.begin(), coarse.parts.end(), part) == coarse.parts.end())
      return false;
  }
  if (!coarse.parts.empty() && fine.parts.empty()) return false;
  return coarse.first_layer <= fine.first_layer && (coarse.end_layer < 0 || fine.first_layer < coarse.end_layer);
}

// The same of one stack; a source that it does not have says nothing.
std::optional<double> ValueInStack(const Stack& stack, const std::string& source, const std::string& parameter,
                                   const TensorGroup& group) {
  const auto at = std::find(stack.sources.begin(), stack.sources.end(), source);
  if (!source.empty() && at == stack.sources.end()) return std::nullopt;
  for (const GroupSettings& settings : stack.settings) {
    if (!Covers(settings.group, group)) continue;
    const auto index = static_cast<size_t>(at - stack.sources.begin());
    if (!source.empty() && index >= settings.source_parameters.size()) return std::nullopt;
    const auto& values = source.empty() ? settings.parameters : settings.source_parameters[index];
    const auto value = values.find(parameter);
    return value == values.end() ? std::nullopt : std::optional<double>(value->second);
  }
  return std::nullopt;
}

// What makes a merge out of tensors that are the stack's own.
std::optional<double> ValueOfTensors(const Stack& stack, const std::string& source, const std::string& parameter,
                                     const TensorGroup& group) {
  const bool has = std::find(stack.sources.begin(), stack.sources.end(), source) != stack.sources.end();
  if (parameter == "weight" && !source.empty() && !has) return 0;
  if (!stack.method.empty()) return ValueInStack(stack, source, parameter, group);
  if (source.empty()) return std::nullopt;
  return parameter == "weight" || parameter == "density" ? std::optional<double>(1) : std::nullopt;
}

const Stack& StackNamed(const Recipe& recipe, const std::string& name) {
  const auto named =
      std::find_if(recipe.stacks.begin(), recipe.stacks.end(), [&](const Stack& s) { return s.name == name; });
  return named == recipe.stacks.end() ? recipe.stacks.front() : *named;
}

}  // namespace

std::optional<double> ValueIn(const Recipe& winner, const std::string& source, const std::string& parameter,
                              const TensorGroup& group) {
  for (const Stack& stack : winner.stacks) {
    const bool has = source.empty() || std::find(stack.sources.begin(), stack.sources.end(), source) != stack.sources.end();
    if (!stack.method.empty() && has) return ValueInStack(stack, source, parameter, group);
  }
  return std::nullopt;
}

bool WinnerPath::IsOne(const Recipe& winner) {
  return !winner.stacks.empty() && (!winner.path.empty() || winner.stacks.front().method.empty());
}

WinnerPath::WinnerPath(Recipe winner, int num_layers, const Granularity& granularity)
    : winner_(std::move(winner)), num_layers_(num_layers) {
  const bool own = granularity.kind == Granularity::Kind::kLayer || granularity.kind == Granularity::Kind::kBlock;
  std::vector<int> first_hops;  // by distinct layer
  for (const Hop& hop : Hops(winner_, num_layers)) {
    auto layer = std::find_if(layers_.begin(), layers_.end(), [&](const Layer& known) {
      return known.winner_stack == hop.stack && known.depth == hop.layer;
    });
    if (layer == layers_.end()) {
      // Without coefficients of their own, layers of one depth become the same one.
      const auto of_its_depth = std::count_if(layers_.begin(), layers_.end(), [&](auto& l) { return l.depth == hop.layer; });
      layers_.push_back({.winner_stack = hop.stack, .depth = hop.layer, .stack = own ? static_cast<int>(of_its_depth) : 0});
      first_hops.push_back(static_cast<int>(hops_.size()));
      layer = layers_.end() - 1;
    }
    hops_.push_back({layer->stack, hop.layer, hop.scale});
  }
  if (own) Group(first_hops, granularity.kind == Granularity::Kind::kBlock ? granularity.block : 1);
}

void WinnerPath::Group(const std::vector<int>& first_hops, int block) {
  groups_.emplace_back("embed");
  for (size_t first = 0; first < layers_.size(); first += static_cast<size_t>(block)) {
    const size_t end = std::min(layers_.size(), first + static_cast<size_t>(block));
    for (size_t i = first; i < end; ++i) layers_[i].group = static_cast<int>(groups_.size());
    groups_.push_back(block == 1 ? absl::StrCat("hop.", first_hops[first])
                                 : absl::StrCat("hops.", first_hops[first], "-", first_hops[end - 1]));
  }
  groups_.emplace_back("out");
}

std::optional<double> WinnerPath::ValueOf(const std::string& source, const std::string& parameter, int group,
                                          const std::string& filter) const {
  if (by_layer() && group == 0) {
    return ValueOfTensors(StackNamed(winner_, winner_.embedding_from), source, parameter,
                          {.parts = {ModelPart::kEmbedding}});
  }
  if (by_layer() && group + 1 == static_cast<int>(groups_.size())) {
    return ValueOfTensors(StackNamed(winner_, winner_.head_from), source, parameter, {.parts = {ModelPart::kHead}});
  }
  double sum = 0;
  int known = 0;
  for (const Layer& layer : layers_) {
    if (by_layer() && layer.group != group) continue;
    const TensorGroup tensors{
        .parts = {ModelPart::kLayers}, .first_layer = layer.depth, .end_layer = layer.depth + 1, .filter = filter};
    const auto value = ValueOfTensors(winner_.stacks[layer.winner_stack], source, parameter, tensors);
    if (!value) continue;
    sum += *value;
    ++known;
  }
  return known == 0 ? std::nullopt : std::optional<double>(sum / known);
}

void WinnerPath::Lay(const Stack& merged, Recipe* recipe) const {
  int stacks = 1;
  for (const Layer& layer : layers_) stacks = std::max(stacks, layer.stack + 1);
  for (int i = 0; i < stacks; ++i) {
    Stack stack = merged;
    if (i > 0) stack.name = absl::StrCat(merged.name, "-", i + 1);
    if (by_layer()) {
      stack.settings.clear();
      const auto add = [&](GroupSettings settings, TensorGroup group) {
        settings.group = std::move(group);
        stack.settings.push_back(std::move(settings));
      };
      if (i == 0) add(merged.settings.front(), {.name = groups_.front(), .parts = {ModelPart::kEmbedding}});
      int covered = 0;
      const GroupSettings* any = nullptr;
      for (const Layer& layer : layers_) {
        if (layer.stack != i) continue;
        ++covered;
        any = &merged.settings[layer.group];
        add(*any, {.name = groups_[layer.group],
                   .parts = {ModelPart::kLayers},
                   .first_layer = layer.depth,
                   .end_layer = layer.depth + 1});
      }
      if (i == 0) add(merged.settings.back(), {.name = groups_.back(), .parts = {ModelPart::kNorm, ModelPart::kHead}});
      // A stack is merged whole; what no hop meets may be anything that is valid.
      if (i > 0 || covered < num_layers_) add(*any, {.name = "unused"});
    }
    recipe->stacks.push_back(std::move(stack));
  }
  recipe->path = hops_;
  if (stacks == 1 && IsStack(*recipe, num_layers_)) recipe->path.clear();
}

}  // namespace merganser
