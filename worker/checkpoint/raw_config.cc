#include "worker/checkpoint/raw_config.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "worker/checkpoint/json_object.h"
#include "worker/checkpoint/model_config.h"
#include "worker/checkpoint/tensor_view.h"

namespace merganser {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kConfigBytesMax = int64_t{16} << 20;
constexpr int64_t kLayersMax = 1'000'000;
constexpr int64_t kVocabMax = int64_t{1} << 30;

// Lists in a config with an entry for each layer.
constexpr const char* kPerLayerLists[] = {"layer_types", "mlp_layer_types", "layers_block_type", "no_rope_layers"};

// Of configs that ModelConfig does not read.
constexpr const char* kForwardPassFields[] = {"rope_theta",
                                              "rope_scaling",
                                              "rope_parameters",
                                              "rope_local_base_freq",
                                              "partial_rotary_factor",
                                              "rotary_pct",
                                              "rotary_emb_base",
                                              "sliding_window",
                                              "use_sliding_window",
                                              "max_window_layers",
                                              "sliding_window_pattern",
                                              "layer_types",
                                              "rms_norm_eps",
                                              "layer_norm_eps",
                                              "layer_norm_epsilon",
                                              "hidden_act",
                                              "hidden_activation",
                                              "activation_function",
                                              "num_attention_heads",
                                              "num_key_value_heads",
                                              "n_head",
                                              "head_dim",
                                              "num_experts_per_tok",
                                              "use_parallel_residual",
                                              "attn_logit_softcapping",
                                              "final_logit_softcapping",
                                              "query_pre_attn_scalar"};

// The object that holds the language model's settings: `text_config` of a multi-modal config.
const Json& TextConfig(const Json& json) {
  const auto text = json.find("text_config");
  return text != json.end() && text->is_object() ? *text : json;
}

bool HasTextConfig(const Json& json) { return &TextConfig(json) != &json; }

Json& At(Json& root, const std::string& dotted) {
  Json* at = &root;
  for (const absl::string_view key : absl::StrSplit(dotted, '.')) at = &(*at)[std::string(key)];
  return *at;
}

std::string InConfig(const Json& json, const std::string& key) {
  return HasTextConfig(json) ? absl::StrCat("text_config.", key) : key;
}

// "f" where all layers attend to everything, "s" where all have the window, else the letter of each layer.
std::string LayerTypes(const ModelConfig& config) {
  std::string types;
  for (int64_t i = 0; i < config.num_layers; ++i) types += config.WindowOf(i) > 0 ? 's' : 'f';
  const bool alike = types.find_first_not_of(types.substr(0, 1)) == std::string::npos;
  return alike ? types.substr(0, 1) : types;
}

std::vector<std::pair<std::string, std::string>> FieldsOf(const ModelConfig& c) {
  return {{"rms_norm_eps", absl::StrCat(c.rms_norm_eps)},
          {"rope_theta", absl::StrCat(c.rope_theta)},
          {"rope_scaling", absl::StrCat(static_cast<int>(c.rope_scaling.type), " factor ", c.rope_scaling.factor)},
          {"sliding_window", c.sliding_window ? absl::StrCat(*c.sliding_window) : "none"},
          {"hidden_act", c.hidden_act},
          {"num_attention_heads", absl::StrCat(c.num_heads)},
          {"num_key_value_heads", absl::StrCat(c.num_kv_heads)},
          {"head_dim", absl::StrCat(c.head_dim)},
          {"query_pre_attn_scalar", absl::StrCat(c.query_pre_attn_scalar)},
          {"attn_logit_softcapping", absl::StrCat(c.attention_softcap)},
          {"final_logit_softcapping", absl::StrCat(c.final_softcap)},
          {"layer_types", LayerTypes(c)}};
}

std::vector<std::pair<std::string, std::string>> FieldsOf(const Json& json) {
  std::vector<std::pair<std::string, std::string>> fields;
  const Json& text = TextConfig(json);
  for (const char* field : kForwardPassFields) {
    const auto value = text.find(field);
    fields.emplace_back(field, value == text.end() || value->is_null() ? "none" : value->dump());
  }
  return fields;
}

// Of a language model, whatever model it is a part of.
constexpr const char* kMovedFields[] = {"rope_theta",
                                        "rope_scaling",
                                        "rope_parameters",
                                        "rope_local_base_freq",
                                        "max_position_embeddings",
                                        "use_sliding_window",
                                        "max_window_layers",
                                        "sliding_window_pattern",
                                        "layer_types",
                                        "rms_norm_eps",
                                        "hidden_act",
                                        "hidden_activation",
                                        "attn_logit_softcapping",
                                        "final_logit_softcapping",
                                        "query_pre_attn_scalar"};

// A patch (RFC 7386) that makes `to` of `from`. What is null in `to` will be absent.
Json PatchBetween(const Json& from, const Json& to) {
  if (!from.is_object() || !to.is_object()) return to;
  Json patch = Json::object();
  for (const auto& [key, value] : to.items()) patch[key] = PatchBetween(from.contains(key) ? from[key] : Json(), value);
  for (const auto& [key, value] : from.items()) {
    if (!to.contains(key)) patch[key] = nullptr;
  }
  return patch;
}

// The file's object; it was checked when the config was read.
Json Parsed(const RawConfig& config) { return Json::parse(config.json, nullptr, false); }

// Types of attention that a family gives its layers by a rule on their index.
std::vector<std::string> LayerTypesByRule(const RawConfig& config, const Json& text) {
  const auto number = [&](const char* field, int64_t otherwise) {
    const auto value = text.find(field);
    return value != text.end() && value->is_number_integer() ? value->get<int64_t>() : otherwise;
  };
  const auto flag = [&](const char* field) {
    const auto value = text.find(field);
    return value != text.end() && value->is_boolean() && value->get<bool>();
  };
  std::vector<std::string> types;
  for (int64_t i = 0; i < config.num_layers; ++i) {
    bool sliding = false;
    if (absl::StartsWith(config.architecture, "Gemma2")) {
      sliding = (i + 1) % 2 != 0;
    } else if (absl::StartsWith(config.architecture, "Gemma3")) {
      sliding = (i + 1) % std::max<int64_t>(1, number("sliding_window_pattern", 6)) != 0;
    } else if (absl::StartsWith(config.architecture, "Qwen2") || absl::StartsWith(config.architecture, "Qwen3")) {
      if (!flag("use_sliding_window")) return {};
      sliding = i >= number("max_window_layers", 28);
    } else {
      return {};
    }
    types.emplace_back(sliding ? "sliding_attention" : "full_attention");
  }
  return types;
}

}  // namespace

absl::StatusOr<RawConfig> RawConfig::Read(const std::string& dir) {
  RawConfig config;
  config.path = dir + "/config.json";
  absl::StatusOr<std::string> text = ReadFile(config.path, kConfigBytesMax);
  if (absl::IsNotFound(text.status())) {
    return absl::NotFoundError(absl::StrCat("'", dir, "' has no config.json: not a checkpoint directory"));
  }
  MG_RETURN_IF_ERROR(text.status());
  config.json = *std::move(text);
  MG_ASSIGN_OR_RETURN(const Json json, ParseJsonObject(config.json, config.path));
  const auto quantization = json.find("quantization_config");
  if (quantization != json.end() && !quantization->is_null()) {
    const bool named =
        quantization->is_object() && quantization->contains("quant_method") && (*quantization)["quant_method"].is_string();
    return absl::UnimplementedError(
        absl::StrCat("'", config.path, "': the checkpoint is quantized (quantization_config.quant_method ",
                     named ? Printable((*quantization)["quant_method"].get<std::string>()) : "unknown",
                     "); use the unquantized checkpoint"));
  }
  const auto architectures = json.find("architectures");
  if (architectures != json.end() && architectures->is_array() && !architectures->empty() &&
      (*architectures)[0].is_string()) {
    config.architecture = (*architectures)[0].get<std::string>();
  }
  const JsonObject top(json, config.path);
  MG_ASSIGN_OR_RETURN(const auto type, top.String("model_type"));
  config.model_type = type.value_or("");
  const Json& inner = TextConfig(json);
  const JsonObject object(inner, config.path, HasTextConfig(json) ? "text_config." : "");
  for (const JsonObject* where : {&object, &top}) {
    if (where->Get("tie_word_embeddings") == nullptr || config.tie_word_embeddings.has_value()) continue;
    MG_ASSIGN_OR_RETURN(config.tie_word_embeddings, where->Bool("tie_word_embeddings", false));
  }
  for (const char* key : {"num_hidden_layers", "n_layer", "num_layers"}) {
    MG_ASSIGN_OR_RETURN(const auto layers, object.Int(key, 0, kLayersMax));
    if (!layers || config.num_layers > 0) continue;
    config.num_layers = *layers;
    config.layers_key = InConfig(json, key);
  }
  MG_ASSIGN_OR_RETURN(const auto vocab, object.Int("vocab_size", 0, kVocabMax));
  config.vocab_size = vocab.value_or(0);
  config.vocab_key = InConfig(json, "vocab_size");
  const absl::StatusOr<ModelConfig> known = ModelConfig::Parse(config.json, config.path);
  config.forward_pass = known.ok() ? FieldsOf(*known) : FieldsOf(json);
  return config;
}

std::string PathConfigPatch(const RawConfig& config, absl::Span<const int> layers) {
  const Json json = Parsed(config);
  const Json& text = TextConfig(json);
  Json patch = Json::object();
  if (!config.layers_key.empty()) At(patch, config.layers_key) = layers.size();
  if (config.architecture == "EvoMistralForCausalLM") {
    patch["architectures"] = Json::array({"MistralForCausalLM"});
    patch["model_type"] = "mistral";
    patch["num_hops"] = nullptr;
    patch["auto_map"] = nullptr;
  }
  const auto pick = [&](const std::string& field, const Json& list) {
    Json picked = Json::array();
    // Layers beyond the donor's own are those of deeper models: they have no entry but the last to follow.
    for (const int layer : layers) picked.push_back(list[std::min<size_t>(layer, list.size() - 1)]);
    At(patch, InConfig(json, field)) = std::move(picked);
  };
  for (const char* field : kPerLayerLists) {
    const auto list = text.find(field);
    if (list != text.end() && list->is_array() && static_cast<int64_t>(list->size()) == config.num_layers)
      pick(field, *list);
  }
  const std::vector<std::string> by_rule = LayerTypesByRule(config, text);
  if (!text.contains("layer_types") && !by_rule.empty()) pick("layer_types", Json(by_rule));
  return patch.dump();
}

std::string EvoMistralConfigPatch(const RawConfig& config, int distinct_layers, int hops) {
  Json patch = {{"architectures", Json::array({"EvoMistralForCausalLM"})}, {"model_type", "evomistral"}, {"num_hops", hops}};
  At(patch, config.layers_key.empty() ? "num_hidden_layers" : config.layers_key) = distinct_layers;
  return patch.dump();
}

bool HasTextConfig(const RawConfig& config) { return HasTextConfig(Parsed(config)); }

absl::StatusOr<std::string> ForwardPassConfigPatch(const RawConfig& config, const RawConfig& from) {
  const Json whole = Parsed(config), other = Parsed(from);
  const Json &text = TextConfig(whole), &part = TextConfig(other);
  const std::string kind = part.value("model_type", HasTextConfig(other) ? Json("llama") : Json()).dump();
  const std::string wanted = text.value("model_type", Json("llama")).dump();  // transformers' own default there
  if (!HasTextConfig(whole) || kind != wanted) {
    return absl::InvalidArgumentError(absl::StrCat("'", from.path, "': model_type is ", kind, " but ", wanted, " in '",
                                                   config.path, "' (text_config), which so cannot have its settings"));
  }
  Json patch = Json::object();
  for (const char* field : kMovedFields) {
    if (part.contains(field) || text.contains(field)) {
      patch[field] = PatchBetween(text.value(field, Json()), part.value(field, Json()));
    }
  }
  // A patch cannot write null, which says that there is no window where an absent field means one; a window over all
  // positions is the same.
  const Json window = part.value("sliding_window", Json());
  const bool none = part.contains("sliding_window") && window.is_null();
  if (!none) {
    patch["sliding_window"] = window;
  } else if (!text.contains("sliding_window") || !text["sliding_window"].is_null()) {
    patch["sliding_window"] = part.value("max_position_embeddings", Json());
  }
  return Json{{"text_config", std::move(patch)}}.dump();
}

std::string PatchedConfig(const RawConfig& config, const std::string& patch) {
  Json json = Parsed(config);
  json.merge_patch(Json::parse(patch, nullptr, false));
  return json.dump();
}

std::string TieConfigPatch(const RawConfig& config, bool tied) {
  const Json json = Parsed(config);
  Json patch = {{"tie_word_embeddings", tied}};
  if (HasTextConfig(json) && TextConfig(json).contains("tie_word_embeddings"))
    patch["text_config"]["tie_word_embeddings"] = tied;
  return patch.dump();
}

std::string VocabularyConfigPatch(const RawConfig& config, int64_t rows) {
  Json patch = Json::object();
  At(patch, config.vocab_key) = rows;
  return patch.dump();
}

std::string JoinPatches(const std::string& first, const std::string& second) {
  if (first.empty() || second.empty()) return first.empty() ? second : first;
  Json joined = Json::parse(first, nullptr, false);
  joined.update(Json::parse(second, nullptr, false), /*merge_objects=*/true);  // keeps nulls, which remove fields
  return joined.dump();
}

}  // namespace merganser
