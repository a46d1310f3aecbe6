#include "coordinator/search_space/parameter_space.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/rng.h"
#include "common/domain/limits.h"

namespace merganser {
namespace {

std::vector<TensorGroup> LayeredGroups(int num_layers, int block) {
  std::vector<TensorGroup> groups;
  groups.push_back({.name = "embed", .parts = {ModelPart::kEmbedding}});
  for (int first = 0; first < num_layers; first += block) {
    const int end = std::min(first + block, num_layers);
    const std::string name = block == 1 ? absl::StrCat("layer.", first)
                                        : absl::StrCat("layers.", first, "-", end - 1);
    groups.push_back({.name = name,
                      .parts = {ModelPart::kLayers},
                      .first_layer = first,
                      .end_layer = end});
  }
  groups.push_back({.name = "out", .parts = {ModelPart::kNorm, ModelPart::kHead}});
  return groups;
}

std::vector<TensorGroup> MakeGroups(const Granularity& granularity, int num_layers) {
  switch (granularity.kind) {
    case Granularity::Kind::kModel:
      return {{.name = "model"}};
    case Granularity::Kind::kLayer:
      return LayeredGroups(num_layers, 1);
    case Granularity::Kind::kBlock:
      return LayeredGroups(num_layers, granularity.block);
    case Granularity::Kind::kFilters: {
      std::vector<TensorGroup> groups;
      for (const std::string& filter : granularity.filters) {
        groups.push_back({.name = filter, .filter = filter});
      }
      groups.push_back({.name = "rest"});
      return groups;
    }
  }
  return {};
}

bool IsSourceParameter(const ParameterSpace& space, const std::string& name) {
  const MethodSignature* method = FindMethod(space.method);
  if (method == nullptr) return false;
  const auto& names = method->source_parameters;
  return std::find(names.begin(), names.end(), name) != names.end();
}

// Apart from the optimizer's streams, which are keyed by the seed itself.
uint64_t MaskSeed(uint64_t seed) {
  const auto words = Philox4x32(seed, StableHash64("mask_seed"), 0);
  return (uint64_t{words[1]} << 32) | words[0];
}

const std::string& TokenizerFrom(const ParameterSpace& space) {
  return space.base.empty() ? space.sources.front() : space.base;
}

}  // namespace

absl::StatusOr<ParameterSpaceDecoder> ParameterSpaceDecoder::Create(const JobSpec& spec,
                                                                    int num_layers) {
  const ParameterSpace& space = spec.parameter;
  if (num_layers < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("models: a model of ", num_layers, " layers cannot be merged"));
  }
  if (space.sources.empty()) {
    return absl::InvalidArgumentError("space.parameter.sources: at least one source is needed");
  }
  if (space.granularity.kind == Granularity::Kind::kBlock &&
      (space.granularity.block < 1 || space.granularity.block > num_layers)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "space.parameter.granularity.block: ", space.granularity.block,
        " is not in [1, ", num_layers, "], the models' number of layers"));
  }
  ParameterSpaceDecoder decoder;
  decoder.spec_ = spec;
  decoder.groups_ = MakeGroups(space.granularity, num_layers);
  const size_t dimension = space.sources.size() * space.bounds.size() * decoder.groups_.size();
  if (dimension > limits::kGenomeDimensionMax) {
    return absl::InvalidArgumentError(absl::StrCat(
        "space.parameter: the genome would have ", dimension, " coordinates (", space.sources.size(),
        " sources x ", space.bounds.size(), " parameters x ", decoder.groups_.size(),
        " groups); at most ", limits::kGenomeDimensionMax));
  }
  for (const std::string& source : space.sources) {
    for (const auto& [parameter, bounds] : space.bounds) {
      for (const TensorGroup& group : decoder.groups_) {
        decoder.genes_.push_back({group.name, source, parameter, bounds});
      }
    }
  }
  return decoder;
}

absl::StatusOr<Recipe> ParameterSpaceDecoder::Decode(absl::Span<const double> genome) const {
  if (genome.size() != genes_.size()) {
    return absl::InvalidArgumentError(absl::StrCat("the genome has ", genome.size(),
                                                   " coordinates; this space has ", genes_.size()));
  }
  for (size_t i = 0; i < genome.size(); ++i) {
    // Written so that NaN fails too.
    if (!(genome[i] >= 0 && genome[i] <= 1)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "genome[", i, "] (", genes_[i].parameter, " of ", genes_[i].source, " in ",
          genes_[i].group, ") is ", genome[i], ", not in [0, 1]"));
    }
  }
  const ParameterSpace& space = spec_.parameter;
  Stack stack{.name = "merged", .method = space.method, .base = space.base, .sources = space.sources};
  for (const TensorGroup& group : groups_) {
    GroupSettings settings{.group = group};
    settings.source_parameters.resize(space.sources.size());
    for (const auto& [name, value] : space.fixed) {
      if (IsSourceParameter(space, name)) {
        for (auto& parameters : settings.source_parameters) parameters[name] = value;
      } else {
        settings.parameters[name] = value;
      }
    }
    stack.settings.push_back(std::move(settings));
  }
  size_t gene = 0;
  for (size_t source = 0; source < space.sources.size(); ++source) {
    for (const auto& [parameter, bounds] : space.bounds) {
      for (GroupSettings& settings : stack.settings) {
        // Rounding may step over `high`.
        const double value = bounds.low + genome[gene++] * (bounds.high - bounds.low);
        settings.source_parameters[source][parameter] = std::clamp(value, bounds.low, bounds.high);
      }
    }
  }
  Recipe recipe;
  recipe.models = spec_.models;
  recipe.stacks.push_back(std::move(stack));
  recipe.tokenizer_from = TokenizerFrom(space);
  recipe.dtype = spec_.dtype;
  recipe.mask_seed = MaskSeed(spec_.seed);
  return recipe;
}

Recipe SourceRecipe(const JobSpec& spec, const std::string& name) {
  Recipe recipe;
  for (const ModelRef& model : spec.models) {
    if (model.name == name) recipe.models.push_back(model);
  }
  recipe.stacks.push_back({.name = name, .sources = {name}});
  recipe.tokenizer_from = name;
  recipe.dtype = spec.dtype;
  recipe.mask_seed = MaskSeed(spec.seed);
  return recipe;
}

Recipe AverageRecipe(const JobSpec& spec) {
  const ParameterSpace& space = spec.parameter;
  GroupSettings settings{.group = {.name = "model"}};
  settings.source_parameters.assign(space.sources.size(), {{"weight", 1.0}});
  settings.parameters["normalize"] = 1;
  Recipe recipe;
  recipe.models = spec.models;
  recipe.stacks.push_back({.name = "average",
                           .method = "linear",
                           .sources = space.sources,
                           .settings = {std::move(settings)}});
  recipe.tokenizer_from = TokenizerFrom(space);
  recipe.dtype = spec.dtype;
  recipe.mask_seed = MaskSeed(spec.seed);
  return recipe;
}

}  // namespace merganser
