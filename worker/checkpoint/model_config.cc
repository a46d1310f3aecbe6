#include "worker/checkpoint/model_config.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/checkpoint/json_object.h"
#include "worker/checkpoint/tensor_view.h"

namespace merganser {
namespace {

// Bounds that no model comes near; they keep every product of two sizes within 64 bits.
constexpr int64_t kVocabMax = 100'000'000;
constexpr int64_t kWidthMax = 10'000'000;
constexpr int64_t kLayersMax = 100'000;
constexpr int64_t kHeadsMax = 100'000;
constexpr int64_t kHeadDimMax = 65'536;
constexpr int64_t kContextMax = int64_t{1} << 31;

// What transformers assumes where config.json says nothing.
struct FamilyDefaults {
  ModelFamily family;
  absl::string_view architecture;
  absl::string_view model_type;
  int64_t num_kv_heads;  // 0: as many as num_heads
  int64_t head_dim;      // 0: hidden_size / num_heads
  int64_t max_position_embeddings;
  int64_t sliding_window;  // 0: none
  bool tie_word_embeddings = false;
};
constexpr FamilyDefaults kFamilies[] = {
    {ModelFamily::kLlama, "LlamaForCausalLM", "llama", 0, 0, 2048, 0},
    {ModelFamily::kMistral, "MistralForCausalLM", "mistral", 8, 0, 131072, 4096},
    {ModelFamily::kQwen2, "Qwen2ForCausalLM", "qwen2", 32, 0, 32768, 4096},
    {ModelFamily::kQwen3, "Qwen3ForCausalLM", "qwen3", 32, 128, 32768, 4096},
    {ModelFamily::kGemma, "GemmaForCausalLM", "gemma", 16, 256, 8192, 0, true},
    {ModelFamily::kGemma2, "Gemma2ForCausalLM", "gemma2", 4, 256, 8192, 4096, true},
    {ModelFamily::kGemma3, "Gemma3ForCausalLM", "gemma3_text", 4, 256, 131072, 4096, true},
    {ModelFamily::kEvoMistral, "EvoMistralForCausalLM", "evomistral", 8, 0, 131072, 4096},
};

// Vision-language models: their text_config is one of the families, and the rest is worker/vision's.
constexpr absl::string_view kVisionArchitectures[] = {"LlavaForConditionalGeneration", "LlavaNextForConditionalGeneration"};

// Files of LLaVA give of their text_config only what differs from the defaults of its class.
struct TextDefaults {
  absl::string_view model_type;
  int64_t vocab_size, hidden_size, intermediate_size, num_layers, num_heads;
};
constexpr TextDefaults kTextDefaults[] = {
    {"llama", 32000, 4096, 11008, 32, 32},
    {"mistral", 32000, 4096, 14336, 32, 32},
    {"qwen2", 151936, 4096, 22016, 32, 32},
};

// The text_config of a vision-language model as the config.json of a plain one, or nullopt if `json` is another's.
absl::StatusOr<std::optional<nlohmann::ordered_json>> TextConfig(const JsonObject& json) {
  const auto* list = json.Get("architectures");
  if (list == nullptr || !list->is_array() || list->empty() || !(*list)[0].is_string()) return std::nullopt;
  const std::string architecture = (*list)[0].get<std::string>();
  if (std::find(std::begin(kVisionArchitectures), std::end(kVisionArchitectures), architecture) ==
      std::end(kVisionArchitectures)) {
    return std::nullopt;
  }
  MG_ASSIGN_OR_RETURN(const std::optional<JsonObject> text, json.Object("text_config"));
  nlohmann::ordered_json config = text ? text->json() : nlohmann::ordered_json::object();
  config.erase("architectures");  // LLaVA-1.6's files say LlamaForCausalLM where the type says mistral
  if (!config.contains("model_type") || !config["model_type"].is_string()) config["model_type"] = "llama";
  const std::string model_type = config["model_type"].get<std::string>();
  for (const TextDefaults& d : kTextDefaults) {
    if (d.model_type != model_type) continue;
    const auto fill = [&](const char* field, int64_t value) {
      if (!config.contains(field)) config[field] = value;
    };
    fill("vocab_size", d.vocab_size);
    fill("hidden_size", d.hidden_size);
    fill("intermediate_size", d.intermediate_size);
    fill("num_hidden_layers", d.num_layers);
    fill("num_attention_heads", d.num_heads);
  }
  for (const char* field : {"torch_dtype", "dtype", "eos_token_id", "bos_token_id", "pad_token_id", "quantization_config"}) {
    if (!config.contains(field) && json.Has(field)) config[field] = json.json()[field];
  }
  return config;
}

absl::StatusOr<const FamilyDefaults*> FindFamily(const JsonObject& config) {
  const std::string known = SupportedArchitectures();
  std::string architecture;
  if (const auto* list = config.Get("architectures")) {
    if (!list->is_array() || list->empty() || !(*list)[0].is_string()) {
      return config.Bad("architectures", "a list with the name of the model class");
    }
    architecture = (*list)[0].get<std::string>();
    for (const FamilyDefaults& family : kFamilies) {
      if (family.architecture == architecture) return &family;
    }
    return absl::UnimplementedError(
        config.Bad("architectures", absl::StrCat("a supported architecture: ", known)).message());
  }
  MG_ASSIGN_OR_RETURN(const std::optional<std::string> model_type, config.String("model_type"));
  if (!model_type) return config.Bad("architectures", absl::StrCat("one of ", known));
  for (const FamilyDefaults& family : kFamilies) {
    if (family.model_type == *model_type) return &family;
  }
  return absl::UnimplementedError(
      config.Bad("model_type", absl::StrCat("that of a supported architecture: ", known)).message());
}

absl::Status RefuseQuantized(const JsonObject& config) {
  MG_ASSIGN_OR_RETURN(const std::optional<JsonObject> quantization, config.Object("quantization_config"));
  if (!quantization) return absl::OkStatus();
  MG_ASSIGN_OR_RETURN(const std::optional<std::string> method, quantization->String("quant_method"));
  return absl::UnimplementedError(absl::StrCat("'", config.path(),
                                               "': the checkpoint is quantized (quantization_config.quant_method ",
                                               Printable(method.value_or("unknown")), "); use the unquantized checkpoint"));
}

absl::Status ParseSizes(const JsonObject& json, const FamilyDefaults& family, ModelConfig& config) {
  MG_ASSIGN_OR_RETURN(config.vocab_size, json.RequiredInt("vocab_size", 1, kVocabMax));
  MG_ASSIGN_OR_RETURN(config.hidden_size, json.RequiredInt("hidden_size", 1, kWidthMax));
  MG_ASSIGN_OR_RETURN(config.intermediate_size, json.RequiredInt("intermediate_size", 1, kWidthMax));
  MG_ASSIGN_OR_RETURN(config.num_layers, json.RequiredInt("num_hidden_layers", 1, kLayersMax));
  MG_ASSIGN_OR_RETURN(config.num_heads, json.RequiredInt("num_attention_heads", 1, kHeadsMax));
  MG_ASSIGN_OR_RETURN(const std::optional<int64_t> kv_heads, json.Int("num_key_value_heads", 1, config.num_heads));
  const bool by_family = !json.Has("num_key_value_heads") && family.num_kv_heads > 0;
  config.num_kv_heads = kv_heads.value_or(by_family ? family.num_kv_heads : config.num_heads);
  if (config.num_heads % config.num_kv_heads != 0) {
    return json.Bad(
        "num_key_value_heads",
        absl::StrCat("a divisor of num_attention_heads, ", config.num_heads,
                     kv_heads ? std::string() : absl::StrCat(" (the family's default is ", family.num_kv_heads, ")")));
  }
  MG_ASSIGN_OR_RETURN(std::optional<int64_t> head_dim, json.Int("head_dim", 2, kHeadDimMax));
  if (!json.Has("head_dim") && family.head_dim > 0) head_dim = family.head_dim;
  if (!head_dim && config.hidden_size % config.num_heads != 0) {
    return json.Bad("hidden_size",
                    absl::StrCat("a multiple of num_attention_heads, ", config.num_heads, ", since head_dim is not given"));
  }
  config.head_dim = head_dim.value_or(config.hidden_size / config.num_heads);
  if (config.head_dim % 2 != 0) {
    return head_dim ? json.Bad("head_dim", "an even number")
                    : json.Bad("hidden_size", absl::StrCat("an even multiple of num_attention_heads, ", config.num_heads));
  }
  MG_ASSIGN_OR_RETURN(const std::optional<int64_t> context, json.Int("max_position_embeddings", 1, kContextMax));
  config.max_position_embeddings = context.value_or(family.max_position_embeddings);
  return absl::OkStatus();
}

// `layer_types`, where the file has it.
absl::Status ParseLayerTypes(const JsonObject& json, ModelConfig& config) {
  const auto* types = json.Get("layer_types");
  if (types == nullptr) return absl::OkStatus();
  if (!types->is_array() || static_cast<int64_t>(types->size()) != config.num_layers) {
    return json.Bad("layer_types", absl::StrCat("a list with a type for each of the ", config.num_layers, " layers"));
  }
  config.sliding_layers.clear();
  for (const auto& type : *types) {
    if (type != "sliding_attention" && type != "full_attention") {
      return absl::UnimplementedError(
          json.Bad("layer_types", "full_attention or sliding_attention for each layer").message());
    }
    config.sliding_layers.push_back(type == "sliding_attention");
  }
  return absl::OkStatus();
}

absl::Status ParseWindow(const JsonObject& json, const FamilyDefaults& family, ModelConfig& config) {
  if (family.sliding_window == 0) return absl::OkStatus();
  const bool qwen = family.family == ModelFamily::kQwen2 || family.family == ModelFamily::kQwen3;
  if (qwen) {
    MG_ASSIGN_OR_RETURN(const bool used, json.Bool("use_sliding_window", false));
    if (!used) return absl::OkStatus();
  }
  MG_ASSIGN_OR_RETURN(config.sliding_window, json.Int("sliding_window", 1, kContextMax));
  if (!json.Has("sliding_window")) config.sliding_window = family.sliding_window;
  if (!config.sliding_window || family.family == ModelFamily::kMistral || family.family == ModelFamily::kEvoMistral) {
    return absl::OkStatus();
  }
  constexpr int64_t kMaxWindowLayers = 28;  // transformers' default
  MG_ASSIGN_OR_RETURN(const std::optional<int64_t> first_window, json.Int("max_window_layers", 0, kLayersMax));
  MG_ASSIGN_OR_RETURN(const std::optional<int64_t> pattern, json.Int("sliding_window_pattern", 1, kLayersMax));
  for (int64_t i = 0; i < config.num_layers; ++i) {
    if (qwen) {
      config.sliding_layers.push_back(i >= first_window.value_or(kMaxWindowLayers));
    } else {
      const int64_t period = family.family == ModelFamily::kGemma2 ? 2 : pattern.value_or(6);
      config.sliding_layers.push_back((i + 1) % period != 0);
    }
  }
  return ParseLayerTypes(json, config);
}

// What differs between families beyond sizes.
absl::Status ParseForwardPass(const JsonObject& json, const FamilyDefaults& family, ModelConfig& config) {
  const ModelFamily f = family.family;
  const bool gemma = f == ModelFamily::kGemma || f == ModelFamily::kGemma2 || f == ModelFamily::kGemma3;
  if (f == ModelFamily::kQwen2) {
    config.attention_bias = true;
  } else if (f == ModelFamily::kLlama || f == ModelFamily::kQwen3 || gemma) {
    MG_ASSIGN_OR_RETURN(config.attention_bias, json.Bool("attention_bias", false));
    config.attention_output_bias = config.attention_bias;
  }
  if (f == ModelFamily::kLlama) {
    MG_ASSIGN_OR_RETURN(config.mlp_bias, json.Bool("mlp_bias", false));
  }
  config.qk_norm = f == ModelFamily::kQwen3 || f == ModelFamily::kGemma3;
  config.norm_adds_one = config.scale_embedding = gemma;
  config.output_norms = f == ModelFamily::kGemma2 || f == ModelFamily::kGemma3;
  if (config.output_norms) {
    constexpr double kScalarMax = 1e9;
    const JsonObject::Range positive{0, kScalarMax, /*low_open=*/true};
    MG_ASSIGN_OR_RETURN(const std::optional<double> scalar, json.Double("query_pre_attn_scalar", positive));
    config.query_pre_attn_scalar = scalar.value_or(256);
    const auto cap = [&](absl::string_view field, double otherwise) -> absl::StatusOr<double> {
      MG_ASSIGN_OR_RETURN(const std::optional<double> value, json.Double(field, positive));
      return value.value_or(json.Has(field) ? 0 : otherwise);
    };
    const bool second = f == ModelFamily::kGemma2;
    if (second) {
      MG_ASSIGN_OR_RETURN(config.attention_softcap, cap("attn_logit_softcapping", 50));
    }
    MG_ASSIGN_OR_RETURN(config.final_softcap, cap("final_logit_softcapping", second ? 30 : 0));
  }
  if (f == ModelFamily::kEvoMistral) {
    constexpr int64_t kHopsMax = 1024;  // EngineOptions::max_path_length
    MG_ASSIGN_OR_RETURN(config.num_hops, json.RequiredInt("num_hops", 1, kHopsMax));
  }
  return absl::OkStatus();
}

absl::Status ParseRope(const JsonObject& json, const FamilyDefaults& family, ModelConfig& config) {
  const RopeContext context{config.max_position_embeddings, config.head_dim};
  if (family.family != ModelFamily::kGemma3) {
    MG_ASSIGN_OR_RETURN(const RopeConfig rope, ParseRopeConfig(json, context));
    config.rope_theta = rope.theta;
    config.rope_scaling = rope.scaling;
    return absl::OkStatus();
  }
  MG_ASSIGN_OR_RETURN(const LayeredRopeConfig rope, ParseLayeredRopeConfig(json, context));
  config.rope_theta = rope.full.theta;
  config.rope_scaling = rope.full.scaling;
  config.sliding_rope = rope.sliding;
  return absl::OkStatus();
}

absl::Status ParseActivation(const JsonObject& json, const FamilyDefaults& family, ModelConfig& config) {
  constexpr absl::string_view kActivations[] = {"silu", "gelu", "gelu_new", "gelu_pytorch_tanh", "relu"};
  const bool first_gemma = family.family == ModelFamily::kGemma;
  const bool later_gemma = config.output_norms;
  if (first_gemma || later_gemma) config.hidden_act = "gelu_pytorch_tanh";
  const absl::string_view field = later_gemma ? "hidden_activation" : "hidden_act";
  MG_ASSIGN_OR_RETURN(const std::optional<std::string> name, json.String(field));
  if (!name) return absl::OkStatus();
  config.hidden_act = *name == "swish" ? "silu" : *name;
  // The first Gemma's files say "gelu" and mean its approximation, as transformers knows too.
  if (first_gemma && config.hidden_act == "gelu") config.hidden_act = "gelu_pytorch_tanh";
  std::string known;
  for (absl::string_view activation : kActivations) {
    if (activation == config.hidden_act) return absl::OkStatus();
    absl::StrAppend(&known, known.empty() ? "" : ", ", activation);
  }
  return json.Bad(field, absl::StrCat("one of ", known));
}

absl::Status ParseDtype(const JsonObject& json, ModelConfig& config) {
  for (absl::string_view field : {"torch_dtype", "dtype"}) {
    MG_ASSIGN_OR_RETURN(const std::optional<std::string> name, json.String(field));
    if (!name) continue;
    const absl::StatusOr<DType> dtype = ParseConfigDType(*name);
    if (!dtype.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("'", json.path(), "': field '", field, "': ", dtype.status().message()));
    }
    if (!IsFloatingPoint(*dtype)) return json.Bad(field, "a floating-point type");
    config.dtype = *dtype;  // `dtype`, the newer name, wins
  }
  return absl::OkStatus();
}

}  // namespace

std::string SupportedArchitectures() {
  std::string known;
  for (const FamilyDefaults& family : kFamilies) {
    absl::StrAppend(&known, known.empty() ? "" : ", ", family.architecture);
  }
  for (const absl::string_view architecture : kVisionArchitectures) absl::StrAppend(&known, ", ", architecture);
  return known;
}

int64_t ModelConfig::MaxContext() const {
  double extended = 0;
  switch (rope_scaling.type) {
    case RopeType::kLinear:
    case RopeType::kDynamic:
      // Gemma 3 counts the scaling in max_position_embeddings already.
      if (!sliding_rope) extended = static_cast<double>(max_position_embeddings) * rope_scaling.factor;
      break;
    case RopeType::kYarn:
      extended = static_cast<double>(rope_scaling.original_max_position_embeddings) * rope_scaling.factor;
      break;
    default:
      break;
  }
  const double bounded = std::min(extended, static_cast<double>(kContextMax));
  return std::max(max_position_embeddings, static_cast<int64_t>(bounded));
}

absl::StatusOr<ModelConfig> ModelConfig::Parse(absl::string_view text, const std::string& path) {
  MG_ASSIGN_OR_RETURN(const nlohmann::ordered_json parsed, ParseJsonObject(text, path));
  const JsonObject json(parsed, path);
  MG_ASSIGN_OR_RETURN(const std::optional<nlohmann::ordered_json> text_config, TextConfig(json));
  if (text_config) {
    MG_ASSIGN_OR_RETURN(ModelConfig config, Parse(text_config->dump(), absl::StrCat(path, ": text_config")));
    config.architecture = parsed["architectures"][0].get<std::string>();
    config.raw_json = std::string(text);
    return config;
  }
  MG_ASSIGN_OR_RETURN(const FamilyDefaults* family, FindFamily(json));
  MG_RETURN_IF_ERROR(RefuseQuantized(json));

  ModelConfig config;
  config.architecture = std::string(family->architecture);
  config.family = family->family;
  MG_RETURN_IF_ERROR(ParseSizes(json, *family, config));
  MG_ASSIGN_OR_RETURN(const std::optional<double> eps, json.Double("rms_norm_eps", {0, 1, /*low_open=*/true}));
  if (eps) config.rms_norm_eps = *eps;
  MG_RETURN_IF_ERROR(ParseWindow(json, *family, config));
  MG_RETURN_IF_ERROR(ParseForwardPass(json, *family, config));
  MG_RETURN_IF_ERROR(ParseRope(json, *family, config));
  MG_ASSIGN_OR_RETURN(config.tie_word_embeddings, json.Bool("tie_word_embeddings", family->tie_word_embeddings));
  MG_RETURN_IF_ERROR(ParseActivation(json, *family, config));
  MG_RETURN_IF_ERROR(ParseDtype(json, config));
  MG_ASSIGN_OR_RETURN(config.eos_token_ids, json.TokenIds("eos_token_id"));
  MG_ASSIGN_OR_RETURN(config.bos_token_id, json.TokenId("bos_token_id"));
  MG_ASSIGN_OR_RETURN(config.pad_token_id, json.TokenId("pad_token_id"));
  config.raw_json = std::string(text);
  return config;
}

}  // namespace merganser
