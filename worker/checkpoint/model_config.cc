#include "worker/checkpoint/model_config.h"

#include <iterator>

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
  int64_t max_position_embeddings;
  int64_t sliding_window;  // 0: none
};
constexpr FamilyDefaults kFamilies[] = {
    {ModelFamily::kLlama, "LlamaForCausalLM", "llama", 0, 2048, 0},
    {ModelFamily::kMistral, "MistralForCausalLM", "mistral", 8, 131072, 4096},
};

absl::StatusOr<const FamilyDefaults*> FindFamily(const JsonObject& config) {
  std::string known;
  for (const FamilyDefaults& family : kFamilies) {
    absl::StrAppend(&known, known.empty() ? "" : ", ", family.architecture);
  }
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
      config.Bad("model_type", absl::StrCat("that of a supported architecture: ", known))
          .message());
}

absl::Status RefuseQuantized(const JsonObject& config) {
  MG_ASSIGN_OR_RETURN(const std::optional<JsonObject> quantization,
                      config.Object("quantization_config"));
  if (!quantization) return absl::OkStatus();
  MG_ASSIGN_OR_RETURN(const std::optional<std::string> method,
                      quantization->String("quant_method"));
  return absl::UnimplementedError(absl::StrCat(
      "'", config.path(), "': the checkpoint is quantized (quantization_config.quant_method ",
      Printable(method.value_or("unknown")), "); use the unquantized checkpoint"));
}

absl::Status ParseSizes(const JsonObject& json, const FamilyDefaults& family, ModelConfig& config) {
  MG_ASSIGN_OR_RETURN(config.vocab_size, json.RequiredInt("vocab_size", 1, kVocabMax));
  MG_ASSIGN_OR_RETURN(config.hidden_size, json.RequiredInt("hidden_size", 1, kWidthMax));
  MG_ASSIGN_OR_RETURN(config.intermediate_size,
                      json.RequiredInt("intermediate_size", 1, kWidthMax));
  MG_ASSIGN_OR_RETURN(config.num_layers, json.RequiredInt("num_hidden_layers", 1, kLayersMax));
  MG_ASSIGN_OR_RETURN(config.num_heads, json.RequiredInt("num_attention_heads", 1, kHeadsMax));
  MG_ASSIGN_OR_RETURN(const std::optional<int64_t> kv_heads,
                      json.Int("num_key_value_heads", 1, config.num_heads));
  const bool by_family = !json.Has("num_key_value_heads") && family.num_kv_heads > 0;
  config.num_kv_heads = kv_heads.value_or(by_family ? family.num_kv_heads : config.num_heads);
  if (config.num_heads % config.num_kv_heads != 0) {
    return json.Bad("num_key_value_heads",
                    absl::StrCat("a divisor of num_attention_heads, ", config.num_heads,
                                 (kv_heads ? "" : " (the family's default is 8)")));
  }
  MG_ASSIGN_OR_RETURN(const std::optional<int64_t> head_dim, json.Int("head_dim", 2, kHeadDimMax));
  if (!head_dim && config.hidden_size % config.num_heads != 0) {
    return json.Bad("hidden_size", absl::StrCat("a multiple of num_attention_heads, ",
                                                config.num_heads, ", since head_dim is not given"));
  }
  config.head_dim = head_dim.value_or(config.hidden_size / config.num_heads);
  if (config.head_dim % 2 != 0) {
    return head_dim
               ? json.Bad("head_dim", "an even number")
               : json.Bad("hidden_size", absl::StrCat("an even multiple of num_attention_heads, ",
                                                      config.num_heads));
  }
  MG_ASSIGN_OR_RETURN(const std::optional<int64_t> context,
                      json.Int("max_position_embeddings", 1, kContextMax));
  config.max_position_embeddings = context.value_or(family.max_position_embeddings);
  if (family.family == ModelFamily::kMistral) {
    MG_ASSIGN_OR_RETURN(config.sliding_window, json.Int("sliding_window", 1, kContextMax));
    if (!json.Has("sliding_window")) config.sliding_window = family.sliding_window;
  }
  return absl::OkStatus();
}

absl::Status ParseActivation(const JsonObject& json, ModelConfig& config) {
  constexpr absl::string_view kActivations[] = {"silu", "gelu", "gelu_new", "gelu_pytorch_tanh",
                                                "relu"};
  MG_ASSIGN_OR_RETURN(const std::optional<std::string> name, json.String("hidden_act"));
  if (!name) return absl::OkStatus();
  config.hidden_act = *name == "swish" ? "silu" : *name;
  std::string known;
  for (absl::string_view activation : kActivations) {
    if (activation == config.hidden_act) return absl::OkStatus();
    absl::StrAppend(&known, known.empty() ? "" : ", ", activation);
  }
  return json.Bad("hidden_act", absl::StrCat("one of ", known));
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

absl::StatusOr<ModelConfig> ModelConfig::Parse(absl::string_view text, const std::string& path) {
  MG_ASSIGN_OR_RETURN(const nlohmann::ordered_json parsed, ParseJsonObject(text, path));
  const JsonObject json(parsed, path);
  MG_ASSIGN_OR_RETURN(const FamilyDefaults* family, FindFamily(json));
  MG_RETURN_IF_ERROR(RefuseQuantized(json));

  ModelConfig config;
  config.architecture = std::string(family->architecture);
  config.family = family->family;
  MG_RETURN_IF_ERROR(ParseSizes(json, *family, config));
  MG_ASSIGN_OR_RETURN(const std::optional<double> eps,
                      json.Double("rms_norm_eps", {0, 1, /*low_open=*/true}));
  if (eps) config.rms_norm_eps = *eps;
  MG_ASSIGN_OR_RETURN(const RopeConfig rope, ParseRopeConfig(json, config.max_position_embeddings));
  config.rope_theta = rope.theta;
  config.rope_scaling = rope.scaling;
  MG_ASSIGN_OR_RETURN(config.tie_word_embeddings, json.Bool("tie_word_embeddings", false));
  if (family->family == ModelFamily::kLlama) {
    MG_ASSIGN_OR_RETURN(config.attention_bias, json.Bool("attention_bias", false));
    MG_ASSIGN_OR_RETURN(config.mlp_bias, json.Bool("mlp_bias", false));
  }
  MG_RETURN_IF_ERROR(ParseActivation(json, config));
  MG_RETURN_IF_ERROR(ParseDtype(json, config));
  MG_ASSIGN_OR_RETURN(config.eos_token_ids, json.TokenIds("eos_token_id"));
  MG_ASSIGN_OR_RETURN(config.bos_token_id, json.TokenId("bos_token_id"));
  MG_ASSIGN_OR_RETURN(config.pad_token_id, json.TokenId("pad_token_id"));
  config.raw_json = std::string(text);
  return config;
}

}  // namespace merganser
