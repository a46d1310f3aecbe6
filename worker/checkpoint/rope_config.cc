#include "worker/checkpoint/rope_config.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/checkpoint/json_object.h"

namespace merganser {
namespace {

constexpr RopeType kRopeTypes[] = {RopeType::kDefault, RopeType::kLinear, RopeType::kDynamic,
                                   RopeType::kLlama3, RopeType::kYarn};
constexpr double kThetaMax = 1e12;
constexpr double kFactorMax = 1e6;
constexpr int64_t kContextMax = int64_t{1} << 31;

absl::StatusOr<RopeType> ParseType(const JsonObject& rope, absl::string_view field) {
  MG_ASSIGN_OR_RETURN(const std::optional<std::string> name, rope.String(field));
  if (!name) return rope.Bad(field, "the name of a rope type");
  std::string known;
  for (RopeType type : kRopeTypes) {
    if (RopeTypeName(type) == *name) return type;
    absl::StrAppend(&known, known.empty() ? "" : ", ", RopeTypeName(type));
  }
  return absl::UnimplementedError(rope.Bad(field, absl::StrCat("one of ", known)).message());
}

absl::Status ParseFactors(const JsonObject& rope, int64_t max_position_embeddings,
                          RopeScaling& scaling) {
  const JsonObject::Range factors{0, kFactorMax, /*low_open=*/true};
  const auto read = [&](absl::string_view field, double& into) -> absl::Status {
    MG_ASSIGN_OR_RETURN(const std::optional<double> value, rope.Double(field, factors));
    if (value) into = *value;
    return absl::OkStatus();
  };
  const auto require = [&](absl::string_view field) {
    return rope.Get(field) ? absl::OkStatus() : rope.Bad(field, "a number");
  };
  MG_RETURN_IF_ERROR(require("factor"));
  MG_RETURN_IF_ERROR(read("factor", scaling.factor));
  if (scaling.type == RopeType::kLinear) return absl::OkStatus();

  MG_ASSIGN_OR_RETURN(const std::optional<int64_t> original,
                      rope.Int("original_max_position_embeddings", 1, kContextMax));
  if (!original && scaling.type == RopeType::kLlama3) {
    return rope.Bad("original_max_position_embeddings",
                    absl::StrCat("an integer in [1, ", kContextMax, "]"));
  }
  scaling.original_max_position_embeddings = original.value_or(max_position_embeddings);
  if (scaling.type == RopeType::kLlama3) {
    MG_RETURN_IF_ERROR(require("low_freq_factor"));
    MG_RETURN_IF_ERROR(require("high_freq_factor"));
    MG_RETURN_IF_ERROR(read("low_freq_factor", scaling.low_freq_factor));
    MG_RETURN_IF_ERROR(read("high_freq_factor", scaling.high_freq_factor));
    if (scaling.high_freq_factor <= scaling.low_freq_factor) {
      return rope.Bad("high_freq_factor",
                      absl::StrCat("more than low_freq_factor, ", scaling.low_freq_factor));
    }
  }
  if (scaling.type == RopeType::kYarn) {
    MG_RETURN_IF_ERROR(read("beta_fast", scaling.beta_fast));
    MG_RETURN_IF_ERROR(read("beta_slow", scaling.beta_slow));
    if (scaling.beta_fast <= scaling.beta_slow) {
      return rope.Bad("beta_fast", absl::StrCat("more than beta_slow, ", scaling.beta_slow));
    }
    MG_ASSIGN_OR_RETURN(scaling.attention_factor, rope.Double("attention_factor", factors));
    MG_ASSIGN_OR_RETURN(scaling.mscale, rope.Double("mscale", {0, kFactorMax}));
    MG_ASSIGN_OR_RETURN(scaling.mscale_all_dim, rope.Double("mscale_all_dim", {0, kFactorMax}));
    MG_ASSIGN_OR_RETURN(scaling.truncate, rope.Bool("truncate", true));
  }
  return absl::OkStatus();
}

absl::Status CheckWholeRotation(const JsonObject& object) {
  MG_ASSIGN_OR_RETURN(const std::optional<double> partial,
                      object.Double("partial_rotary_factor", {0, 1, /*low_open=*/true}));
  if (partial && *partial != 1) {
    return absl::UnimplementedError(
        object.Bad("partial_rotary_factor", "1 (partial rotation is not supported)").message());
  }
  return absl::OkStatus();
}

}  // namespace

absl::string_view RopeTypeName(RopeType type) {
  switch (type) {
    case RopeType::kDefault:
      return "default";
    case RopeType::kLinear:
      return "linear";
    case RopeType::kDynamic:
      return "dynamic";
    case RopeType::kLlama3:
      return "llama3";
    case RopeType::kYarn:
      return "yarn";
  }
  return "unknown";
}

absl::StatusOr<RopeConfig> ParseRopeConfig(const JsonObject& config,
                                           int64_t max_position_embeddings) {
  const JsonObject::Range thetas{0, kThetaMax, /*low_open=*/true};
  RopeConfig result;
  MG_RETURN_IF_ERROR(CheckWholeRotation(config));
  MG_ASSIGN_OR_RETURN(std::optional<double> theta, config.Double("rope_theta", thetas));
  MG_ASSIGN_OR_RETURN(const std::optional<JsonObject> parameters, config.Object("rope_parameters"));
  MG_ASSIGN_OR_RETURN(const std::optional<JsonObject> scaling, config.Object("rope_scaling"));
  if (parameters) {
    for (const auto& [key, value] : parameters->json().items()) {
      if (value.is_object()) {
        return absl::UnimplementedError(
            config
                .Bad("rope_parameters",
                     "one set of values (settings per layer type are not supported)")
                .message());
      }
    }
    MG_RETURN_IF_ERROR(CheckWholeRotation(*parameters));
    MG_ASSIGN_OR_RETURN(const std::optional<double> inner,
                        parameters->Double("rope_theta", thetas));
    if (inner && theta && *inner != *theta) {
      return config.Bad("rope_theta",
                        absl::StrCat("the same as rope_parameters.rope_theta, ", *inner));
    }
    if (inner) theta = inner;
  }
  if (theta) result.theta = *theta;

  const std::optional<JsonObject>& rope = parameters ? parameters : scaling;
  if (!rope || rope->json().empty()) return result;
  const absl::string_view type_field = rope->Has("rope_type") ? "rope_type" : "type";
  // transformers 5 leaves the type out where it is "default".
  if (parameters && !rope->Has(type_field)) return result;
  MG_ASSIGN_OR_RETURN(result.scaling.type, ParseType(*rope, type_field));
  if (result.scaling.type != RopeType::kDefault) {
    MG_RETURN_IF_ERROR(ParseFactors(*rope, max_position_embeddings, result.scaling));
  }
  return result;
}

}  // namespace merganser
