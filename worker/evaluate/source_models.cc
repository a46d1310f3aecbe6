#include "worker/evaluate/source_models.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "worker/checkpoint/dtype.h"
#include "worker/checkpoint/model_locator.h"
#include "worker/checkpoint/raw_config.h"
#include "worker/engine/weight_layout.h"
#include "worker/vision/vision_model.h"

namespace merganser {
namespace {

// "s" for each layer with a window, "f" for each without.
std::string LayerTypes(const ModelConfig& config) {
  std::string types;
  for (int64_t i = 0; i < config.num_layers; ++i) types += config.WindowOf(i) > 0 ? 's' : 'f';
  return types;
}

// What a config says about the forward pass, field by field, as text for comparison and for messages.
std::vector<std::pair<std::string, std::string>> ForwardPassFields(const ModelConfig& c) {
  return {{"architecture", c.architecture},
          {"rms_norm_eps", absl::StrCat(c.rms_norm_eps)},
          {"rope_theta", absl::StrCat(c.rope_theta)},
          {"rope_scaling", absl::StrCat(static_cast<int>(c.rope_scaling.type), " factor ", c.rope_scaling.factor)},
          {"sliding_window", c.sliding_window ? absl::StrCat(*c.sliding_window) : "none"},
          {"hidden_act", c.hidden_act},
          {"query_pre_attn_scalar", absl::StrCat(c.query_pre_attn_scalar)},
          {"attn_logit_softcapping", absl::StrCat(c.attention_softcap)},
          {"final_logit_softcapping", absl::StrCat(c.final_softcap)},
          {"layer_types", LayerTypes(c)},
          {"tie_word_embeddings", c.tie_word_embeddings ? "true" : "false"},
          {"num_attention_heads", absl::StrCat(c.num_heads)},
          {"num_key_value_heads", absl::StrCat(c.num_kv_heads)}};
}

}  // namespace

bool HasRename(const JobSpec& spec, const std::string& name) {
  return std::any_of(spec.models.begin(), spec.models.end(),
                     [&](const ModelRef& m) { return m.name == name && !m.rename.empty(); });
}

bool AllPlain(const JobSpec& spec, const CheckpointMap& models) {
  return std::all_of(spec.models.begin(), spec.models.end(),
                     [&](const ModelRef& model) { return model.rename.empty() && !IsVisionModel(*models.at(model.name)); });
}

absl::StatusOr<CheckpointMap> OpenModels(const std::vector<ModelRef>& models, const std::vector<std::string>& model_roots) {
  const ModelLocatorOptions options = LocatorOptions(model_roots);
  CheckpointMap checkpoints;
  for (const ModelRef& model : models) {
    if (!model.lora.empty()) {
      return absl::UnimplementedError(absl::StrCat("models.", model.name,
                                                   ".lora: a search takes checkpoints as they are; make one "
                                                   "first with `merganser merge`"));
    }
    const std::string field = absl::StrCat("models.", model.name, ".path");
    const absl::StatusOr<std::string> dir = ResolveModel(model.path, options);
    if (!dir.ok()) return Annotate(dir.status(), field);
    absl::StatusOr<std::shared_ptr<const Checkpoint>> checkpoint = Checkpoint::Open(*dir);
    if (!checkpoint.ok()) return Annotate(checkpoint.status(), field);
    checkpoints[model.name] = *std::move(checkpoint);
  }
  return checkpoints;
}

absl::StatusOr<std::unique_ptr<Tokenizer>> LoadTokenizer(const std::string& model, const Checkpoint& checkpoint,
                                                         int64_t vocab_size) {
  MG_ASSIGN_OR_RETURN(auto tokenizer, Tokenizer::Load(checkpoint.dir()));
  if (tokenizer->vocab_size() > vocab_size) {
    return absl::InvalidArgumentError(absl::StrCat("models.", model, ".path: the tokenizer of ", checkpoint.dir(), " has ",
                                                   tokenizer->vocab_size(), " tokens, but config.json's vocab_size is ",
                                                   vocab_size));
  }
  return tokenizer;
}

absl::StatusOr<ModelConfig> MergedConfig(const JobSpec& spec, const CheckpointMap& models) {
  const std::string donor = TokenizerModel(spec);
  const ModelConfig& config = models.at(donor)->config();
  const std::string chosen = spec.config_from.empty() ? donor : spec.config_from;
  const auto want = ForwardPassFields(config);
  const bool whole_sees = IsVisionModel(*models.at(donor));
  for (const auto& [name, checkpoint] : models) {
    const auto difference = [&, path = checkpoint->dir()](absl::string_view field, absl::string_view has,
                                                          absl::string_view other) {
      return absl::StrCat("models.", name, ".path: ", path, "/config.json: ", field, " is ", has, " but ", other, " in ",
                          models.at(donor)->dir(), " ('", donor, "')");
    };
    const bool sees = IsVisionModel(*checkpoint);
    if (sees && !whole_sees) {
      return absl::InvalidArgumentError(absl::StrCat("models.", name, ".path: ", checkpoint->dir(), " sees and ",
                                                     models.at(donor)->dir(), " ('", donor,
                                                     "') does not; if that is a language model to be merged into it, write "
                                                     "`rename: {\"\": \"language_model.\"}` there"));
    }
    const bool is_part = HasRename(spec, name);
    const auto have = ForwardPassFields(checkpoint->config());
    for (size_t i = 0; i < want.size(); ++i) {
      if (want[i].second == have[i].second) continue;
      const std::string differs = difference(have[i].first, have[i].second, want[i].second);
      if (!is_part) {
        return absl::InvalidArgumentError(
            absl::StrCat(differs, "; a merge needs one forward pass",
                         whole_sees && !sees ? "; if it is a language model to be merged into one that sees, write `rename: "
                                               "{\"\": \"language_model.\"}`"
                                             : ""));
      }
      // A part's own class and head are adapted to the whole (OpenRecipeModels).
      if (have[i].first == "architecture" || have[i].first == "tie_word_embeddings") continue;
      if (absl::EndsWith(have[i].first, "_heads")) {
        return absl::InvalidArgumentError(absl::StrCat(differs, "; such models cannot be merged"));
      }
      if (spec.config_from.empty()) {
        return absl::InvalidArgumentError(
            absl::StrCat(differs, "; a merge has one forward pass: write `config_from: ", donor, "` or `config_from: ", name,
                         "` for the model whose settings it shall have"));
      }
      MG_LOG(INFO) << "models differ in a setting config_from=" << chosen << " difference=\"" << differs << '"';
    }
    if (checkpoint->config().family != config.family) {
      return absl::InvalidArgumentError(
          absl::StrCat(difference("architecture", checkpoint->config().architecture, config.architecture),
                       ", and their language models differ in kind"));
    }
  }
  if (chosen == donor) return config;
  // The export's own way (OpenRecipeModels), so that the checkpoint runs as its candidate did.
  MG_ASSIGN_OR_RETURN(const RawConfig whole, RawConfig::Read(models.at(donor)->dir()));
  MG_ASSIGN_OR_RETURN(const RawConfig part, RawConfig::Read(models.at(chosen)->dir()));
  absl::StatusOr<std::string> patch = ForwardPassConfigPatch(whole, part);
  if (!patch.ok()) return Annotate(patch.status(), "config_from");
  return ModelConfig::Parse(PatchedConfig(whole, *patch), whole.path);
}

absl::StatusOr<ArenaLayout> MergedLayout(const ModelConfig& config, const Checkpoint& donor, const std::string& dtype) {
  MG_ASSIGN_OR_RETURN(const DType type, ParseConfigDType(dtype));
  std::vector<ArenaTensor> tensors;
  for (TensorSpec& spec : WeightLayout(config)) {
    const TensorView* own = donor.Find(spec.name);
    tensors.push_back({own != nullptr ? own->name : std::move(spec.name), std::move(spec.shape), type});
  }
  return ArenaLayout::Create(std::move(tensors));
}

absl::StatusOr<RecipeModels> OpenJobModels(const JobSpec& spec, const std::vector<std::string>& model_roots) {
  Recipe recipe;
  recipe.models = spec.models;
  recipe.tokenizer_from = recipe.vocabulary_from = TokenizerModel(spec);
  recipe.config_from = spec.config_from.empty() ? recipe.tokenizer_from : spec.config_from;
  const ModelLocatorOptions locator = LocatorOptions(model_roots);
  return OpenRecipeModels(recipe, [&](const std::string& path) { return ResolveModel(path, locator); });
}

absl::StatusOr<std::shared_ptr<const MergeSources>> AdaptedSources(const JobSpec& spec, const CheckpointMap& models,
                                                                   const ArenaLayout& layout, const RecipeModels* opened) {
  if (opened == nullptr) return MergeSources::Create(models, layout);
  std::map<std::string, MergeSources::Model> adapted;
  for (const auto& [name, source] : opened->sources) {
    MergeSources::Model& model = adapted[name];
    model.label = source->label();
    model.tied_head = models.at(name)->config().tie_word_embeddings;
    auto owners = std::make_shared<std::vector<std::shared_ptr<const void>>>();
    for (const ArenaTensor& tensor : layout.tensors()) {
      if (source->Find(tensor.name) == nullptr) {
        return absl::InvalidArgumentError(absl::StrCat("models.", name, ": ", source->label(), " has no tensor '",
                                                       tensor.name, "' of '", TokenizerModel(spec),
                                                       "': `rename` must give it the names that it has there"));
      }
      MG_ASSIGN_OR_RETURN(LoadedTensor loaded, source->Load(tensor.name));
      loaded.view.name = tensor.name;
      model.tensors.push_back(std::move(loaded.view));
      owners->push_back(std::move(loaded.owner));
    }
    model.owner = std::move(owners);
  }
  return MergeSources::Create(adapted, layout);
}

}  // namespace merganser
