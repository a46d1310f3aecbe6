#include "coordinator/search_space/parameter_space.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/rng.h"
#include "common/domain/limits.h"
#include "common/domain/merge_method_spec.h"
#include "common/domain/search_validation.h"
#include "coordinator/search_space/recipe_frame.h"

namespace merganser {
namespace {

constexpr double kProbably = 0.9;  // first mean of a gene of two levels: far in level 1

// What the names of a vision tower's tensors contain, in every layout of LLaVA's keys.
constexpr char kVisionTower[] = "vision_tower";

// Each block whole, or split by the filters.
std::vector<TensorGroup> LayeredGroups(int num_layers, int block, const std::vector<std::string>& filters, bool vision) {
  std::vector<TensorGroup> groups;
  groups.push_back({.name = "embed", .parts = {ModelPart::kEmbedding}});
  for (int first = 0; first < num_layers; first += block) {
    const int end = std::min(first + block, num_layers);
    const std::string name = block == 1 ? absl::StrCat("layer.", first) : absl::StrCat("layers.", first, "-", end - 1);
    const TensorGroup whole{.name = name, .parts = {ModelPart::kLayers}, .first_layer = first, .end_layer = end};
    for (const std::string& filter : filters) {
      TensorGroup& part = groups.emplace_back(whole);
      part.name = absl::StrCat(name, ".", filter);
      part.filter = filter;
    }
    groups.push_back(whole);
    if (!filters.empty()) absl::StrAppend(&groups.back().name, ".rest");
  }
  groups.push_back({.name = "out", .parts = {ModelPart::kNorm, ModelPart::kHead}});
  if (vision) {
    groups.push_back({.name = kVisionTower, .filter = kVisionTower});
    groups.push_back({.name = "projector"});
  }
  return groups;
}

std::vector<TensorGroup> MakeGroups(const Granularity& granularity, int num_layers, bool vision) {
  switch (granularity.kind) {
    case Granularity::Kind::kModel:
      return {{.name = "model"}};
    case Granularity::Kind::kLayer:
      return LayeredGroups(num_layers, 1, {}, vision);
    case Granularity::Kind::kBlock:
      return LayeredGroups(num_layers, granularity.block, granularity.filters, vision);
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

bool Contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// True if one of the space's methods takes the parameter for each source.
bool IsPerSource(const ParameterSpace& space, const std::string& parameter) {
  std::vector<std::string> methods = space.methods;
  if (methods.empty()) methods.push_back(space.method);
  return std::any_of(methods.begin(), methods.end(), [&](const std::string& name) {
    const MethodSignature* method = FindMethod(name);
    return method != nullptr && Contains(method->source_parameters, parameter);
  });
}

// A gene of the parameter: a choice of two for a switch, levels in order for whole numbers, else a number.
Gene GeneOf(const ParameterSpace& space, const std::string& parameter, const Bounds& bounds) {
  std::vector<std::string> methods = space.methods;
  if (methods.empty()) methods.push_back(space.method);
  for (const std::string& name : methods) {
    const MethodSpec* method = FindMethodSpec(name);
    const MethodParameter* own = method == nullptr ? nullptr : method->Find(parameter);
    if (own == nullptr || own->kind == MethodParameter::Kind::kNumber) continue;
    const bool is_switch = own->kind == MethodParameter::Kind::kSwitch;
    return {.kind = is_switch ? Gene::Kind::kCategorical : Gene::Kind::kInteger,
            .levels = static_cast<int>(bounds.high - bounds.low) + 1};
  }
  return {};
}

// Where the search begins for a gene that stands for `value`: of a switch, probably at it.
double StartAt(const Gene& gene, const Bounds& bounds, double value) {
  if (gene.kind == Gene::Kind::kCategorical) return value > 0.5 ? kProbably : 1 - kProbably;
  if (gene.discrete())
    return gene.ValueOf(std::clamp(static_cast<int>(std::lround(value - bounds.low)), 0, gene.levels - 1));
  return std::clamp((value - bounds.low) / (bounds.high - bounds.low), 0.0, 1.0);
}

// Of a job whose whole models see: true if more than one of the space's models brings what is no language model's, a whole
// one or a part whose `rename` names such tensors.
bool MergesVision(const JobSpec& spec, const ParameterSpace& space) {
  const auto is_language = [](const auto& rule) {
    return absl::StrContains(rule.second, "language_model") || absl::StartsWith(rule.second, "lm_head");
  };
  const auto merges = [&](const ModelRef& model) {
    return (model.rename.empty() || !std::all_of(model.rename.begin(), model.rename.end(), is_language)) &&
           (model.name == space.base || Contains(space.sources, model.name));
  };
  return std::count_if(spec.models.begin(), spec.models.end(), merges) > 1;
}

}  // namespace

uint64_t MaskSeed(uint64_t seed) {
  const auto words = Philox4x32(seed, StableHash64("mask_seed"), 0);
  return (uint64_t{words[1]} << 32) | words[0];
}

absl::StatusOr<ParameterSpaceDecoder> ParameterSpaceDecoder::Create(const JobSpec& spec, int num_layers, int stage,
                                                                    const Recipe* winner, bool sees) {
  const ParameterSpace space = StageOf(spec, stage).parameter;
  const std::string at = absl::StrCat(StageField(stage), "space.parameter");
  const bool by_layer =
      space.granularity.kind == Granularity::Kind::kLayer || space.granularity.kind == Granularity::Kind::kBlock;
  if (by_layer && num_layers < 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        at, ".granularity: ", space.granularity.kind == Granularity::Kind::kLayer ? "layer" : "block",
        " needs a number of layers, and the models' config.json has none; use granularity: model or {filters: [...]}"));
  }
  if (space.sources.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(at, ".sources: at least one source is needed"));
  }
  if (space.granularity.kind == Granularity::Kind::kBlock &&
      (space.granularity.block < 1 || space.granularity.block > num_layers)) {
    return absl::InvalidArgumentError(absl::StrCat(at, ".granularity.block: ", space.granularity.block, " is not in [1, ",
                                                   num_layers, "], the models' number of layers"));
  }
  ParameterSpaceDecoder decoder;
  decoder.spec_ = spec;
  decoder.space_ = space;
  const bool merges_vision = sees && MergesVision(spec, space);
  decoder.groups_ = MakeGroups(space.granularity, num_layers, merges_vision);
  if (TakesWinnersPath(spec, stage) && merges_vision) {
    return absl::InvalidArgumentError(
        absl::StrCat(at,
                     ".start: weights along a winner's path are of language models only; give each model but one that sees "
                     "`rename: {\"language_model.\": \"language_model.\"}`"));
  }
  if (TakesWinnersPath(spec, stage) && winner != nullptr && num_layers > 0 && WinnerPath::IsOne(*winner)) {
    decoder.path_.emplace(*winner, num_layers, space.granularity);
    if (!decoder.path_->groups().empty()) decoder.groups_.clear();
    for (const std::string& name : decoder.path_->groups()) decoder.groups_.push_back({.name = name});
  }
  size_t own = 0;  // searched parameters that each source has for itself; the others are the method's
  for (const auto& [parameter, bounds] : space.bounds) own += IsPerSource(space, parameter) ? 1 : 0;
  const size_t whole = space.bounds.size() - own;
  const size_t dimension = (space.sources.size() * own + whole) * decoder.groups_.size() + !space.methods.empty();
  if (dimension > limits::kGenomeDimensionMax) {
    return absl::InvalidArgumentError(
        absl::StrCat(at, ": the genome would have ", dimension, " coordinates (", whole > 0 ? "(" : "", space.sources.size(),
                     " sources x ", own, " parameters", whole > 0 ? absl::StrCat(" + ", whole, " of the method)") : "",
                     " x ", decoder.groups_.size(), " groups); at most ", limits::kGenomeDimensionMax));
  }
  if (space.methods.size() > 1) {
    const int levels = static_cast<int>(space.methods.size());
    decoder.labels_.push_back({"model", "", "method", {0, levels - 1.0}});
    decoder.genome_.genes.push_back({.kind = Gene::Kind::kCategorical, .levels = levels});
  }
  std::vector<std::string> owners = space.sources;
  owners.emplace_back();  // the method as a whole: its parameters come last, their labels name no source
  for (const std::string& source : owners) {
    for (const auto& [parameter, bounds] : space.bounds) {
      if (IsPerSource(space, parameter) == source.empty()) continue;
      for (size_t i = 0; i < decoder.groups_.size(); ++i) {
        const TensorGroup& group = decoder.groups_[i];
        decoder.labels_.push_back({group.name, source, parameter, bounds});
        Gene gene = GeneOf(space, parameter, bounds);
        std::optional<double> value;
        if (decoder.path_) {
          value = decoder.path_->ValueOf(source, parameter, static_cast<int>(i), group.filter);
        } else if (!space.start.empty() && winner != nullptr) {
          value = ValueIn(*winner, source, parameter, group);
        }
        if (value) gene.start = StartAt(gene, bounds, *value);
        decoder.genome_.genes.push_back(gene);
      }
    }
  }
  return decoder;
}

std::string ParameterSpaceDecoder::MethodOf(absl::Span<const double> genome) const {
  if (space_.methods.empty()) return space_.method;
  if (space_.methods.size() == 1) return space_.methods.front();
  return space_.methods[genome_.genes.front().LevelOf(genome.front())];
}

absl::StatusOr<Recipe> ParameterSpaceDecoder::Decode(absl::Span<const double> genome) const {
  if (absl::Status fits = CheckGenome(genome, labels_); !fits.ok()) return fits;
  const MethodSignature* method = FindMethod(MethodOf(genome));
  if (method == nullptr) return absl::InternalError(absl::StrCat("method '", MethodOf(genome), "' is not known"));
  Stack stack{.name = "merged", .method = method->name, .sources = space_.sources};
  if (method->takes_base) stack.base = space_.base;
  for (const TensorGroup& group : groups_) {
    GroupSettings settings{.group = group};
    settings.source_parameters.resize(space_.sources.size());
    for (const auto& [name, value] : space_.fixed) {
      if (Contains(method->source_parameters, name)) {
        for (auto& parameters : settings.source_parameters) parameters[name] = value;
      } else if (Contains(method->parameters, name)) {
        settings.parameters[name] = value;
      }
    }
    stack.settings.push_back(std::move(settings));
  }
  const size_t first = space_.methods.size() > 1 ? 1 : 0;
  for (size_t i = first; i < labels_.size(); ++i) {
    const auto& [group, source, parameter, bounds] = labels_[i];
    GroupSettings& settings = stack.settings[(i - first) % groups_.size()];  // groups change fastest
    // Rounding may step over `high`.
    const Gene& gene = genome_.genes[i];
    const double value = gene.discrete()
                             ? bounds.low + gene.LevelOf(genome[i])
                             : std::clamp(bounds.low + genome[i] * (bounds.high - bounds.low), bounds.low, bounds.high);
    if (source.empty()) {
      if (Contains(method->parameters, parameter)) settings.parameters[parameter] = value;
    } else if (Contains(method->source_parameters, parameter)) {
      const auto at = std::find(space_.sources.begin(), space_.sources.end(), source);
      settings.source_parameters[static_cast<size_t>(at - space_.sources.begin())][parameter] = value;
    }
  }
  Recipe recipe = RecipeFrame(spec_);
  if (path_) {
    path_->Lay(stack, &recipe);
  } else {
    recipe.stacks.push_back(std::move(stack));
  }
  return recipe;
}

Recipe SourceRecipe(const JobSpec& spec, const std::string& name) {
  Recipe recipe = RecipeFrame(spec);
  recipe.stacks.push_back({.name = name, .sources = {name}});
  if (HasParts(spec)) return recipe;  // a part has tokenizer, rows and the other parts of the whole model
  std::erase_if(recipe.models, [&](const ModelRef& model) { return model.name != name; });
  recipe.tokenizer_from = name;
  return recipe;
}

Recipe AverageRecipe(const JobSpec& spec) {
  const std::vector<std::string> sources = SourceNames(spec);
  GroupSettings settings{.group = {.name = "model"}};
  settings.source_parameters.assign(sources.size(), {{"weight", 1.0}});
  settings.parameters["normalize"] = 1;
  Recipe recipe = RecipeFrame(spec);
  recipe.stacks.push_back({.name = "average", .method = "linear", .sources = sources, .settings = {std::move(settings)}});
  return recipe;
}

}  // namespace merganser
