#include "worker/checkpoint/rope_config.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/checkpoint/json_object.h"

namespace merganser {
namespace {

constexpr RopeType kRopeTypes[] = {RopeType::kDefault, RopeType::kLinear, RopeType::kDynamic,
                                   RopeType::kLlama3,  RopeType::kYarn,   RopeType::kLongrope};
constexpr double kThetaMax = 1e12;
constexpr double kFactorMax = 1e6;
constexpr double kLocalTheta = 10000.0;     // of Gemma 3's sliding layers
constexpr double kGlobalTheta = 1000000.0;  // and of its full ones
constexpr int64_t kContextMax = int64_t{1} << 31;

absl::StatusOr<RopeType> ParseType(const JsonObject& rope, absl::string_view field) {
  MG_ASSIGN_OR_RETURN(const std::optional<std::string> name, rope.String(field));
  if (!name) return rope.Bad(field, "the name of a rope type");
  std::string known;
  for (RopeType type : kRopeTypes) {
    if (RopeTypeName(type) == *name || (type == RopeType::kLongrope && *name == "su")) return type;
    absl::StrAppend(&known, known.empty() ? "" : ", ", RopeTypeName(type));
  }
  return absl::UnimplementedError(rope.Bad(field, absl::StrCat("one of ", known)).message());
}

// One number per pair of dimensions.
absl::StatusOr<std::vector<double>> ParseFactorList(const JsonObject& rope, absl::string_view field, int64_t count) {
  const std::string wanted = absl::StrCat("a list of ", count, " positive numbers (head_dim / 2)");
  const auto* list = rope.Get(field);
  if (list == nullptr || !list->is_array() || static_cast<int64_t>(list->size()) != count) {
    return rope.Bad(field, wanted);
  }
  std::vector<double> factors;
  for (const auto& value : *list) {
    if (!value.is_number() || !(value.get<double>() > 0)) return rope.Bad(field, wanted);
    factors.push_back(value.get<double>());
  }
  return factors;
}

absl::Status ParseLongrope(const JsonObject& config, const JsonObject& rope, const RopeContext& context,
                           RopeScaling& scaling) {
  const JsonObject::Range factors{0, kFactorMax, /*low_open=*/true};
  // Some configs (Phi-3) give the context before scaling beside the rope settings; that wins.
  MG_ASSIGN_OR_RETURN(std::optional<int64_t> original, config.Int("original_max_position_embeddings", 1, kContextMax));
  if (!original) {
    MG_ASSIGN_OR_RETURN(original, rope.Int("original_max_position_embeddings", 1, kContextMax));
  }
  scaling.original_max_position_embeddings = original.value_or(context.max_position_embeddings);
  MG_ASSIGN_OR_RETURN(const std::optional<double> factor, rope.Double("factor", factors));
  scaling.factor = factor.value_or(static_cast<double>(context.max_position_embeddings) /
                                   static_cast<double>(scaling.original_max_position_embeddings));
  MG_ASSIGN_OR_RETURN(scaling.attention_factor, rope.Double("attention_factor", factors));
  MG_ASSIGN_OR_RETURN(scaling.short_factor, ParseFactorList(rope, "short_factor", context.head_dim / 2));
  MG_ASSIGN_OR_RETURN(scaling.long_factor, ParseFactorList(rope, "long_factor", context.head_dim / 2));
  return absl::OkStatus();
}

absl::Status ParseFactors(const JsonObject& rope, int64_t max_position_embeddings, RopeScaling& scaling) {
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

  MG_ASSIGN_OR_RETURN(const std::optional<int64_t> original, rope.Int("original_max_position_embeddings", 1, kContextMax));
  if (!original && scaling.type == RopeType::kLlama3) {
    return rope.Bad("original_max_position_embeddings", absl::StrCat("an integer in [1, ", kContextMax, "]"));
  }
  scaling.original_max_position_embeddings = original.value_or(max_position_embeddings);
  if (scaling.type == RopeType::kLlama3) {
    MG_RETURN_IF_ERROR(require("low_freq_factor"));
    MG_RETURN_IF_ERROR(require("high_freq_factor"));
    MG_RETURN_IF_ERROR(read("low_freq_factor", scaling.low_freq_factor));
    MG_RETURN_IF_ERROR(read("high_freq_factor", scaling.high_freq_factor));
    if (scaling.high_freq_factor <= scaling.low_freq_factor) {
      return rope.Bad("high_freq_factor", absl::StrCat("more than low_freq_factor, ", scaling.low_freq_factor));
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
    return absl::UnimplementedError(object.Bad("partial_rotary_factor", "1 (partial rotation is not supported)").message());
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
    case RopeType::kLongrope:
      return "longrope";
  }
  return "unknown";
}

namespace {

// The type and its numbers, of an object that holds them.
absl::StatusOr<RopeScaling> ParseScaling(const JsonObject& config, const JsonObject& rope, const RopeContext& context,
                                         bool type_may_be_absent) {
  RopeScaling scaling;
  const absl::string_view type_field = rope.Has("rope_type") ? "rope_type" : "type";
  // transformers 5 leaves the type out where it is "default".
  if (type_may_be_absent && !rope.Has(type_field)) return scaling;
  MG_ASSIGN_OR_RETURN(scaling.type, ParseType(rope, type_field));
  if (scaling.type == RopeType::kLongrope) {
    MG_RETURN_IF_ERROR(ParseLongrope(config, rope, context, scaling));
  } else if (scaling.type != RopeType::kDefault) {
    MG_RETURN_IF_ERROR(ParseFactors(rope, context.max_position_embeddings, scaling));
  }
  return scaling;
}

constexpr JsonObject::Range kThetas{0, kThetaMax, /*low_open=*/true};

bool HasNested(const JsonObject& parameters) {
  for (const auto& [key, value] : parameters.json().items()) {
    if (value.is_object()) return true;
  }
  return false;
}

}  // namespace

absl::StatusOr<RopeConfig> ParseRopeConfig(const JsonObject& config, const RopeContext& context) {
  RopeConfig result{context.default_theta, {}};
  MG_RETURN_IF_ERROR(CheckWholeRotation(config));
  MG_ASSIGN_OR_RETURN(std::optional<double> theta, config.Double("rope_theta", kThetas));
  MG_ASSIGN_OR_RETURN(const std::optional<JsonObject> parameters, config.Object("rope_parameters"));
  MG_ASSIGN_OR_RETURN(const std::optional<JsonObject> scaling, config.Object("rope_scaling"));
  if (parameters) {
    if (HasNested(*parameters)) {
      return absl::UnimplementedError(
          config.Bad("rope_parameters", "one set of values (settings per layer type are not supported for this family)")
              .message());
    }
    MG_RETURN_IF_ERROR(CheckWholeRotation(*parameters));
    MG_ASSIGN_OR_RETURN(const std::optional<double> inner, parameters->Double("rope_theta", kThetas));
    if (inner && theta && *inner != *theta) {
      return config.Bad("rope_theta", absl::StrCat("the same as rope_parameters.rope_theta, ", *inner));
    }
    if (inner) theta = inner;
  }
  if (theta) result.theta = *theta;

  const std::optional<JsonObject>& rope = parameters ? parameters : scaling;
  if (!rope || rope->json().empty()) return result;
  MG_ASSIGN_OR_RETURN(result.scaling, ParseScaling(config, *rope, context, parameters.has_value()));
  return result;
}

absl::StatusOr<LayeredRopeConfig> ParseLayeredRopeConfig(const JsonObject& config, const RopeContext& context) {
  MG_ASSIGN_OR_RETURN(const std::optional<JsonObject> parameters, config.Object("rope_parameters"));
  LayeredRopeConfig result;
  MG_ASSIGN_OR_RETURN(const std::optional<double> theta, config.Double("rope_theta", kThetas));
  MG_ASSIGN_OR_RETURN(const std::optional<double> local, config.Double("rope_local_base_freq", kThetas));
  result.full.theta = theta.value_or(kGlobalTheta);
  result.sliding.theta = local.value_or(kLocalTheta);
  if (!parameters || !HasNested(*parameters)) {
    RopeContext full = context;
    full.default_theta = kGlobalTheta;
    MG_ASSIGN_OR_RETURN(result.full, ParseRopeConfig(config, full));
    return result;
  }
  for (auto& [name, into] :
       {std::pair<const char*, RopeConfig*>{"full_attention", &result.full}, {"sliding_attention", &result.sliding}}) {
    MG_ASSIGN_OR_RETURN(const std::optional<JsonObject> rope, parameters->Object(name));
    if (!rope) continue;
    MG_RETURN_IF_ERROR(CheckWholeRotation(*rope));
    MG_ASSIGN_OR_RETURN(const std::optional<double> own, rope->Double("rope_theta", kThetas));
    if (own) into->theta = *own;
    MG_ASSIGN_OR_RETURN(into->scaling, ParseScaling(config, *rope, context, true));
  }
  return result;
}

}  // namespace merganser
