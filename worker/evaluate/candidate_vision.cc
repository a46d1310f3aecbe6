#include "worker/evaluate/candidate_vision.h"

#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/base/status_macros.h"
#include "worker/checkpoint/tensor_role.h"
#include "worker/checkpoint/tensor_view.h"
#include "worker/merge/recipe_plan.h"
#include "worker/vision/vision_config.h"
#include "worker/vision/vision_model.h"

namespace merganser {
namespace {

// True if the model has tensors that are no language model's.
bool BringsVision(const RecipeModels& models, const std::string& name) {
  const std::vector<TensorHeader>& headers = models.sources.at(name)->headers();
  return std::any_of(headers.begin(), headers.end(), [](const TensorHeader& header) { return !RoleOf(header.name).part; });
}

// True if a tensor of no part of a language model can belong to the group.
bool MayHoldVision(const TensorGroup& group) { return group.parts.empty() && group.first_layer == 0 && group.end_layer < 0; }

std::string Text(const std::map<std::string, double>& values) {
  return absl::StrJoin(values, ",", [](std::string* out, const auto& entry) {
    absl::StrAppend(out, entry.first, "=", absl::StrFormat("%.17g", entry.second));
  });
}

std::string Text(const Resolution& size) { return absl::StrCat(size.height, " x ", size.width); }

// What a picture's features depend on beside the weights, field by field, as text for comparison and for messages.
std::vector<std::pair<std::string, std::string>> FieldsOf(const VisionConfig& c) {
  const auto pinpoints =
      absl::StrJoin(c.pinpoints, ", ", [](std::string* out, const Resolution& r) { out->append(Text(r)); });
  return {{"image_token_index", absl::StrCat(c.image_token_id)},
          {"vision_config.hidden_size", absl::StrCat(c.hidden_size)},
          {"vision_config.num_hidden_layers", absl::StrCat(c.num_layers)},
          {"vision_config.num_attention_heads", absl::StrCat(c.num_heads)},
          {"vision_config.image_size", absl::StrCat(c.image_size)},
          {"vision_config.patch_size", absl::StrCat(c.patch_size)},
          {"vision_config.hidden_act", c.hidden_act},
          {"vision_config.layer_norm_eps", absl::StrCat(c.layer_norm_eps)},
          {"vision_feature_layer", absl::StrCat(c.feature_layer)},
          {"vision_feature_select_strategy", c.drop_class_token ? "default" : "full"},
          {"projector_hidden_act", c.projector_act},
          {"image_grid_pinpoints", pinpoints}};
}

std::vector<std::pair<std::string, std::string>> FieldsOf(const ImageProcessorConfig& c) {
  return {{"do_pad", c.pad_to_square ? "true" : "false"},
          {"do_resize", c.resize ? "true" : "false"},
          {"size", absl::StrCat(c.shortest_edge, ", ", Text(c.exact))},
          {"do_center_crop", c.center_crop ? "true" : "false"},
          {"crop_size", Text(c.crop)},
          {"do_rescale", c.rescale ? "true" : "false"},
          {"rescale_factor", absl::StrCat(c.rescale_factor)},
          {"do_normalize", c.normalize ? "true" : "false"},
          {"image_mean", absl::StrJoin(c.mean, ", ")},
          {"image_std", absl::StrJoin(c.std, ", ")}};
}

using Fields = std::vector<std::pair<std::string, std::string>>;

absl::StatusOr<VisionConfig> ConfigOf(const Checkpoint& checkpoint) {
  return VisionConfig::Parse(checkpoint.config().raw_json, checkpoint.dir() + "/config.json");
}

// Empty where there is none: only pictures need it.
absl::StatusOr<Fields> ProcessorFields(const Checkpoint& checkpoint, bool next) {
  const absl::StatusOr<ImageProcessorConfig> config = ReadImageProcessor(checkpoint, next);
  if (absl::IsNotFound(config.status())) return Fields{};
  MG_RETURN_IF_ERROR(config.status());
  return FieldsOf(*config);
}

absl::Status CheckAlike(const Fields& have, const Fields& want, const std::string& at, const std::string& other) {
  for (size_t i = 0; i < std::min(have.size(), want.size()); ++i) {
    if (have[i] == want[i]) continue;
    return absl::InvalidArgumentError(absl::StrCat(at, ": ", have[i].first, " is ", have[i].second, " but ", want[i].second,
                                                   " in ", other, "; models whose eyes are merged see alike"));
  }
  return absl::OkStatus();
}

// A merge as the space may ask for it: every parameter at the end of its bounds.
Stack AnyMerge(const ParameterSpace& space, const std::string& name) {
  const MethodSignature* method = FindMethod(name);
  Stack stack{.name = "merged", .method = name, .sources = space.sources};
  if (method == nullptr) return stack;
  if (method->takes_base) stack.base = space.base;
  GroupSettings& settings = stack.settings.emplace_back();
  settings.group.name = "model";
  settings.source_parameters.resize(space.sources.size());
  std::map<std::string, double> values = space.fixed;
  for (const auto& [parameter, bounds] : space.bounds) values[parameter] = bounds.high;
  const auto has = [](const std::vector<std::string>& names, const std::string& parameter) {
    return std::find(names.begin(), names.end(), parameter) != names.end();
  };
  for (const auto& [parameter, value] : values) {
    if (has(method->source_parameters, parameter)) {
      for (auto& own : settings.source_parameters) own[parameter] = value;
    } else if (has(method->parameters, parameter)) {
      settings.parameters[parameter] = value;
    }
  }
  return stack;
}

}  // namespace

absl::StatusOr<std::unique_ptr<CandidateVision>> CandidateVision::Create(const JobSpec& spec, const std::string& donor,
                                                                         std::shared_ptr<const Checkpoint> checkpoint,
                                                                         std::shared_ptr<const RecipeModels> models,
                                                                         const std::string& device, int threads,
                                                                         int64_t bytes_max) {
  std::unique_ptr<CandidateVision> vision(
      new CandidateVision(spec, donor, std::move(checkpoint), std::move(models), device, threads));
  Side side = vision->CopyOf(donor);
  MG_ASSIGN_OR_RETURN(std::unique_ptr<VisionModel> first, vision->Make(side.recipe, {}));
  vision->images_ = std::make_unique<ImageFeatureCache>(std::move(first), std::move(side.key), bytes_max,
                                                        ImageFeatureCache::Keeping::kFirst);
  return vision;
}

CandidateVision::Side CandidateVision::CopyOf(const std::string& model) const {
  Side side;
  side.key = absl::StrCat("copy of ", model);
  side.recipe.models = spec_.models;
  side.recipe.stacks = {{.name = model, .sources = {model}}};
  side.recipe.tokenizer_from = donor_;
  side.recipe.dtype = spec_.dtype;
  return side;
}

CandidateVision::Side CandidateVision::SideOf(const Recipe& recipe) const {
  size_t index = 0;
  for (size_t i = 0; i < recipe.stacks.size(); ++i) {
    if (!recipe.embedding_from.empty() && recipe.stacks[i].name == recipe.embedding_from) index = i;
  }
  Stack stack = recipe.stacks[index];
  std::vector<std::string> seeing = stack.sources;
  if (!stack.base.empty()) seeing.push_back(stack.base);
  const size_t all = seeing.size();
  std::erase_if(seeing, [&](const std::string& name) { return !BringsVision(*models_, name); });
  if (seeing.empty()) return CopyOf(donor_);
  const bool copied = seeing.size() == 1 && all > 1 && !HasRename(spec_, seeing[0]);
  if (stack.method.empty() || copied) return CopyOf(seeing[0]);
  std::erase_if(stack.settings, [](const GroupSettings& settings) { return !MayHoldVision(settings.group); });
  Side side = CopyOf(donor_);
  side.merged = true;
  side.key = absl::StrCat(stack.method, " of ", absl::StrJoin(stack.sources, ","), " onto ", stack.base, ", masks ",
                          recipe.mask_seed, ", arithmetic ", static_cast<int>(stack.arithmetic));
  for (const GroupSettings& settings : stack.settings) {
    absl::StrAppend(&side.key, "; '", settings.group.filter, "' ", Text(settings.parameters));
    for (const auto& own : settings.source_parameters) absl::StrAppend(&side.key, " / ", Text(own));
  }
  side.recipe.mask_seed = recipe.mask_seed;
  side.recipe.stacks = {std::move(stack)};
  return side;
}

absl::StatusOr<std::unique_ptr<VisionModel>> CandidateVision::Make(const Recipe& side, std::stop_token stop) const {
  RecipePlanOptions options;
  options.threads = threads_;
  options.vision_only = true;
  MG_ASSIGN_OR_RETURN(const auto plan, RecipePlan::Build(side, models_->sources, options));
  MergeMemory memory(threads_);
  std::map<std::string, TensorView> tensors;
  std::vector<std::shared_ptr<const void>> owners;
  for (const RecipePlan::Batch& batch : plan->batches()) {
    MG_ASSIGN_OR_RETURN(const RecipePlan::Result result, plan->Compute(batch, memory, stop));
    for (int t = batch.first; t < batch.end; ++t) {
      const TensorHeader& header = plan->tensors()[t].header;
      tensors[header.name] = {header.name, header.dtype, header.shape, result.bytes[t - batch.first]};
    }
    owners.insert(owners.end(), result.owners.begin(), result.owners.end());
  }
  return VisionModel::Load(checkpoint_, device_, [&](const std::string& name) -> const TensorView* {
    const auto found = tensors.find(name);
    return found == tensors.end() ? nullptr : &found->second;
  });
}

absl::Status CandidateVision::Materialize(const Recipe& recipe, std::stop_token stop) {
  const Side side = SideOf(recipe);
  // A copy may be loaded much later, when `stop` belongs to nobody any more.
  const std::stop_token own = side.merged ? stop : std::stop_token();
  images_->Use(side.key, /*lasting=*/!side.merged, [this, own, recipe = side.recipe] { return Make(recipe, own); });
  return side.merged ? images_->Load() : absl::OkStatus();
}

absl::Status CheckVisionSides(const JobSpec& spec, const CheckpointMap& models, const RecipeModels* opened) {
  const std::string donor = TokenizerModel(spec);
  const Checkpoint& first = *models.at(donor);
  const auto sees = [](const auto& model) { return IsVisionModel(*model.second); };
  if (std::count_if(models.begin(), models.end(), sees) < 2) return absl::OkStatus();
  MG_ASSIGN_OR_RETURN(const VisionConfig config, ConfigOf(first));
  MG_ASSIGN_OR_RETURN(const Fields processor, ProcessorFields(first, config.next));
  for (const ModelRef& model : spec.models) {
    const Checkpoint& checkpoint = *models.at(model.name);
    if (!IsVisionModel(checkpoint) || !BringsVision(*opened, model.name)) continue;
    const std::string at = absl::StrCat("models.", model.name, ".path: ", checkpoint.dir());
    const std::string other = absl::StrCat(first.dir(), " ('", donor, "')");
    MG_ASSIGN_OR_RETURN(const VisionConfig own_config, ConfigOf(checkpoint));
    MG_RETURN_IF_ERROR(CheckAlike(FieldsOf(own_config), FieldsOf(config), at + "/config.json", other));
    MG_ASSIGN_OR_RETURN(const Fields own_processor, ProcessorFields(checkpoint, own_config.next));
    MG_RETURN_IF_ERROR(CheckAlike(own_processor, processor, at + "/preprocessor_config.json", other));
  }
  for (int s = 0; s < NumStages(spec); ++s) {
    const ParameterSpace space = StageOf(spec, s).parameter;
    std::vector<std::string> methods = space.methods;
    if (methods.empty() && space.used()) methods.push_back(space.method);
    for (const std::string& method : methods) {
      Recipe recipe;
      recipe.models = spec.models;
      recipe.tokenizer_from = donor;
      recipe.dtype = spec.dtype;
      recipe.stacks = {AnyMerge(space, method)};
      RecipePlanOptions options;
      options.vision_only = true;
      const absl::Status fits = RecipePlan::Build(recipe, opened->sources, options).status();
      if (!fits.ok()) return Annotate(fits, absl::StrCat(StageField(s), "space.parameter"));
    }
  }
  return absl::OkStatus();
}

}  // namespace merganser
