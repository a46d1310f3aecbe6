#include "worker/checkpoint/lora_config.h"

#include <cmath>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/checkpoint/json_object.h"

namespace merganser {

double LoraConfig::Scale(absl::string_view module, int64_t rank) const {
  double own = alpha;
  for (const auto& [pattern, value] : alpha_of) {
    if (module == pattern || absl::EndsWith(module, absl::StrCat(".", pattern))) own = value;
  }
  const double r = static_cast<double>(rank);
  return own / (rank_stabilized ? std::sqrt(r) : r);
}

absl::StatusOr<LoraConfig> LoraConfig::Parse(absl::string_view json, const std::string& path) {
  MG_ASSIGN_OR_RETURN(const nlohmann::ordered_json parsed, ParseJsonObject(json, path));
  const JsonObject object(parsed, path);
  const auto unsupported = [&](absl::string_view what) {
    return absl::UnimplementedError(absl::StrCat("'", path, "': ", what,
                                                 "; merge the adapter with PEFT first"));
  };
  MG_ASSIGN_OR_RETURN(const auto type, object.String("peft_type"));
  if (type.value_or("") != "LORA")
    return unsupported(absl::StrCat("peft_type '", type.value_or(""), "' is not LORA"));
  MG_ASSIGN_OR_RETURN(const bool dora, object.Bool("use_dora", false));
  if (dora) return unsupported("use_dora");
  MG_ASSIGN_OR_RETURN(const auto bias, object.String("bias"));
  if (bias.value_or("none") != "none") return unsupported(absl::StrCat("bias '", *bias, "'"));
  if (object.Get("layer_replication") != nullptr) return unsupported("layer_replication");
  LoraConfig config;
  MG_ASSIGN_OR_RETURN(const auto alpha, object.Double("lora_alpha", {-1e9, 1e9}));
  if (!alpha) return object.Bad("lora_alpha", "a number");
  config.alpha = *alpha;
  MG_ASSIGN_OR_RETURN(config.rank_stabilized, object.Bool("use_rslora", false));
  MG_ASSIGN_OR_RETURN(config.fan_in_fan_out, object.Bool("fan_in_fan_out", false));
  MG_ASSIGN_OR_RETURN(const auto patterns, object.Object("alpha_pattern"));
  if (patterns) {
    for (const auto& [name, value] : patterns->json().items()) {
      MG_ASSIGN_OR_RETURN(const auto own, patterns->Double(name, {-1e9, 1e9}));
      if (own) config.alpha_of[name] = *own;
    }
  }
  return config;
}

}  // namespace merganser
