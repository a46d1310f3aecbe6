#include "worker/evaluate/source_models.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/checkpoint/dtype.h"
#include "worker/checkpoint/model_locator.h"
#include "worker/engine/weight_layout.h"

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

absl::StatusOr<CheckpointMap> OpenModels(const std::vector<ModelRef>& models,
                                         const std::vector<std::string>& model_roots) {
  const ModelLocatorOptions options = LocatorOptions(model_roots);
  CheckpointMap checkpoints;
  for (const ModelRef& model : models) {
    if (!model.lora.empty() || !model.rename.empty()) {
      return absl::UnimplementedError(absl::StrCat("models.", model.name, model.lora.empty() ? ".rename" : ".lora",
                                                   ": a search takes checkpoints as they are; make one first with `merganser merge`"));
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

absl::Status CheckSameForwardPass(const CheckpointMap& models) {
  const auto& [first_name, first] = *models.begin();
  const auto want = ForwardPassFields(first->config());
  for (const auto& [name, checkpoint] : models) {
    const auto have = ForwardPassFields(checkpoint->config());
    for (size_t i = 0; i < want.size(); ++i) {
      if (want[i].second == have[i].second) continue;
      return absl::InvalidArgumentError(absl::StrCat(
          "models.", name, ".path: ", checkpoint->dir(), "/config.json: ", have[i].first, " is ", have[i].second, " but ",
          want[i].second, " in ", first->dir(), " ('", first_name, "'); a merge needs one forward pass"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<ArenaLayout> MergedLayout(const ModelConfig& config, const std::string& dtype) {
  MG_ASSIGN_OR_RETURN(const DType type, ParseConfigDType(dtype));
  std::vector<ArenaTensor> tensors;
  for (TensorSpec& spec : WeightLayout(config)) tensors.push_back({std::move(spec.name), std::move(spec.shape), type});
  return ArenaLayout::Create(std::move(tensors));
}

}  // namespace merganser
