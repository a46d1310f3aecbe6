#include "worker/vision/vision_config.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/checkpoint/json_object.h"

namespace merganser {
namespace {

constexpr int64_t kSizeMax = 1 << 20;
constexpr int kPixelsMax = 16384;  // of an edge
constexpr int kPinpointsMax = 1000;

absl::Status Read(const JsonObject& json, absl::string_view field, int64_t* value) {
  MG_ASSIGN_OR_RETURN(const std::optional<int64_t> read, json.Int(field, 1, kSizeMax));
  if (read) *value = *read;
  return absl::OkStatus();
}

absl::Status ReadPinpoints(const JsonObject& json, std::vector<Resolution>* pinpoints) {
  const auto* list = json.Get("image_grid_pinpoints");
  if (list == nullptr) return absl::OkStatus();
  const std::string wanted =
      absl::StrCat("a list of at most ", kPinpointsMax, " pairs [height, width] in [1, ", kPixelsMax, "]");
  if (!list->is_array() || list->empty() || list->size() > kPinpointsMax) return json.Bad("image_grid_pinpoints", wanted);
  pinpoints->clear();
  for (const auto& pair : *list) {
    if (!pair.is_array() || pair.size() != 2) return json.Bad("image_grid_pinpoints", wanted);
    for (const auto& edge : pair) {
      if (!edge.is_number_integer() || edge < 1 || edge > kPixelsMax) return json.Bad("image_grid_pinpoints", wanted);
    }
    pinpoints->push_back({pair[0].get<int>(), pair[1].get<int>()});
  }
  return absl::OkStatus();
}

absl::Status ReadTower(const JsonObject& json, VisionConfig& config) {
  MG_ASSIGN_OR_RETURN(const std::optional<std::string> type, json.String("model_type"));
  if (type && *type != "clip_vision_model") {
    return absl::UnimplementedError(
        json.Bad("model_type", "clip_vision_model, the only vision tower that is supported").message());
  }
  MG_RETURN_IF_ERROR(Read(json, "hidden_size", &config.hidden_size));
  MG_RETURN_IF_ERROR(Read(json, "intermediate_size", &config.intermediate_size));
  MG_RETURN_IF_ERROR(Read(json, "num_hidden_layers", &config.num_layers));
  MG_RETURN_IF_ERROR(Read(json, "num_attention_heads", &config.num_heads));
  MG_RETURN_IF_ERROR(Read(json, "image_size", &config.image_size));
  MG_RETURN_IF_ERROR(Read(json, "patch_size", &config.patch_size));
  MG_ASSIGN_OR_RETURN(const std::optional<double> eps, json.Double("layer_norm_eps", {0, 1, /*low_open=*/true}));
  if (eps) config.layer_norm_eps = *eps;
  MG_ASSIGN_OR_RETURN(const std::optional<std::string> act, json.String("hidden_act"));
  if (act) config.hidden_act = *act;
  if (config.hidden_act != "quick_gelu" && config.hidden_act != "gelu") {
    return absl::UnimplementedError(json.Bad("hidden_act", "quick_gelu or gelu").message());
  }
  if (config.hidden_size % config.num_heads != 0) {
    return json.Bad("hidden_size", absl::StrCat("a multiple of num_attention_heads, ", config.num_heads));
  }
  if (config.image_size > kPixelsMax || config.image_size % config.patch_size != 0) {
    return json.Bad("image_size",
                    absl::StrCat("a multiple of patch_size, ", config.patch_size, ", of at most ", kPixelsMax));
  }
  return absl::OkStatus();
}

// {"height": h, "width": w}, {"shortest_edge": n}, or a plain number.
absl::Status ReadSize(const JsonObject& json, absl::string_view field, Resolution* exact, int* shortest) {
  const auto* value = json.Get(field);
  if (value == nullptr) return absl::OkStatus();
  if (value->is_number_integer()) {
    MG_ASSIGN_OR_RETURN(const int64_t edge, json.RequiredInt(field, 1, kPixelsMax));
    if (shortest != nullptr) {
      *shortest = static_cast<int>(edge);
    } else {
      *exact = {static_cast<int>(edge), static_cast<int>(edge)};
    }
    return absl::OkStatus();
  }
  MG_ASSIGN_OR_RETURN(const std::optional<JsonObject> size, json.Object(field));
  if (shortest != nullptr && size->Has("shortest_edge")) {
    MG_ASSIGN_OR_RETURN(const int64_t edge, size->RequiredInt("shortest_edge", 1, kPixelsMax));
    *shortest = static_cast<int>(edge);
    return absl::OkStatus();
  }
  MG_ASSIGN_OR_RETURN(const int64_t height, size->RequiredInt("height", 1, kPixelsMax));
  MG_ASSIGN_OR_RETURN(const int64_t width, size->RequiredInt("width", 1, kPixelsMax));
  *exact = {static_cast<int>(height), static_cast<int>(width)};
  return absl::OkStatus();
}

absl::Status ReadChannels(const JsonObject& json, absl::string_view field, bool positive, std::array<double, 3>* values) {
  const auto* list = json.Get(field);
  if (list == nullptr) return absl::OkStatus();
  const absl::string_view wanted = positive ? "three numbers above 0" : "three numbers";
  if (!list->is_array() || list->size() != 3) return json.Bad(field, wanted);
  for (int i = 0; i < 3; ++i) {
    if (!(*list)[i].is_number()) return json.Bad(field, wanted);
    (*values)[i] = (*list)[i].get<double>();
    if (positive && (*values)[i] <= 0) return json.Bad(field, wanted);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<VisionConfig> VisionConfig::Parse(absl::string_view config_json, const std::string& path) {
  MG_ASSIGN_OR_RETURN(const nlohmann::ordered_json parsed, ParseJsonObject(config_json, path));
  const JsonObject json(parsed, path);
  VisionConfig config;
  const auto* list = json.Get("architectures");
  const std::string architecture =
      list != nullptr && list->is_array() && !list->empty() && (*list)[0].is_string() ? (*list)[0].get<std::string>() : "";
  config.next = architecture == "LlavaNextForConditionalGeneration";
  if (!config.next && architecture != "LlavaForConditionalGeneration") {
    return absl::UnimplementedError(
        json.Bad("architectures", "a model that sees: LlavaForConditionalGeneration or LlavaNextForConditionalGeneration")
            .message());
  }
  MG_ASSIGN_OR_RETURN(const std::optional<JsonObject> tower, json.Object("vision_config"));
  if (!tower) {  // LLaVA's default: CLIP ViT-L/14 at 336 pixels
    config.hidden_size = 1024;
    config.intermediate_size = 4096;
    config.num_layers = 24;
    config.num_heads = 16;
    config.image_size = 336;
    config.patch_size = 14;
  } else {
    MG_RETURN_IF_ERROR(ReadTower(*tower, config));
  }
  MG_ASSIGN_OR_RETURN(const std::optional<int64_t> layer,
                      json.Int("vision_feature_layer", -config.num_layers - 1, config.num_layers));
  if (layer) config.feature_layer = *layer;
  MG_ASSIGN_OR_RETURN(const std::optional<std::string> strategy, json.String("vision_feature_select_strategy"));
  const std::string select = strategy.value_or("default");
  if (select != "default" && select != "full") return json.Bad("vision_feature_select_strategy", "default or full");
  config.drop_class_token = select == "default";
  MG_ASSIGN_OR_RETURN(const std::optional<std::string> act, json.String("projector_hidden_act"));
  if (act && *act != "gelu") return absl::UnimplementedError(json.Bad("projector_hidden_act", "gelu").message());
  MG_ASSIGN_OR_RETURN(config.projector_bias, json.Bool("multimodal_projector_bias", true));
  if (config.next) {
    config.pinpoints = {{336, 672}, {672, 336}, {672, 672}, {1008, 336}, {336, 1008}};
    MG_RETURN_IF_ERROR(ReadPinpoints(json, &config.pinpoints));
    if (!config.drop_class_token) {
      return absl::UnimplementedError(json.Bad("vision_feature_select_strategy", "default, for tiles").message());
    }
  }
  for (const absl::string_view field : {"image_token_index", "image_token_id"}) {
    MG_ASSIGN_OR_RETURN(const std::optional<int32_t> token, json.TokenId(field));
    if (token) config.image_token_id = *token;
  }
  return config;
}

absl::StatusOr<ImageProcessorConfig> ImageProcessorConfig::Parse(absl::string_view text, bool next,
                                                                 const std::string& path) {
  MG_ASSIGN_OR_RETURN(const nlohmann::ordered_json parsed, ParseJsonObject(text, path));
  const JsonObject json(parsed, path);
  ImageProcessorConfig config;
  config.next = next;
  constexpr int64_t kBicubic = 3;
  MG_ASSIGN_OR_RETURN(const std::optional<int64_t> resample, json.Int("resample", 0, 100));
  if (resample && *resample != kBicubic) return absl::UnimplementedError(json.Bad("resample", "3 (bicubic)").message());
  // The same word for other things: LLaVA-NeXT's processor pads batches, which is nothing to one square.
  MG_ASSIGN_OR_RETURN(const bool pad, json.Bool("do_pad", next));
  MG_ASSIGN_OR_RETURN(const std::optional<std::string> type, json.String("image_processor_type"));
  config.pad_to_square = pad && !next && type && absl::StartsWith(*type, "LlavaImageProcessor");
  if (pad && !next && !(type && absl::StartsWith(*type, "Llava"))) {
    return absl::UnimplementedError(
        json.Bad("do_pad", "false, unless image_processor_type is LlavaImageProcessor").message());
  }
  MG_ASSIGN_OR_RETURN(config.resize, json.Bool("do_resize", true));
  MG_ASSIGN_OR_RETURN(config.center_crop, json.Bool("do_center_crop", true));
  MG_ASSIGN_OR_RETURN(config.rescale, json.Bool("do_rescale", true));
  MG_ASSIGN_OR_RETURN(config.normalize, json.Bool("do_normalize", true));
  MG_RETURN_IF_ERROR(ReadSize(json, "size", &config.exact, &config.shortest_edge));
  MG_RETURN_IF_ERROR(ReadSize(json, "crop_size", &config.crop, nullptr));
  MG_ASSIGN_OR_RETURN(const std::optional<double> factor, json.Double("rescale_factor", {0, 1, /*low_open=*/true}));
  if (factor) config.rescale_factor = *factor;
  MG_RETURN_IF_ERROR(ReadChannels(json, "image_mean", false, &config.mean));
  MG_RETURN_IF_ERROR(ReadChannels(json, "image_std", true, &config.std));
  MG_RETURN_IF_ERROR(ReadPinpoints(json, &config.pinpoints));
  return config;
}

}  // namespace merganser
