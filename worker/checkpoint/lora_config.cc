#include "worker/checkpoint/lora_config.h"

#include <algorithm>
#include <cmath>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/status_macros.h"
#include "worker/checkpoint/json_object.h"

namespace merganser {
namespace {

constexpr double kRankMax = 1 << 20;

// The value of the first pattern that fits, as PEFT reads them.
double Fitting(const std::vector<std::pair<std::string, double>>& patterns, absl::string_view module, double otherwise) {
  for (const auto& [pattern, value] : patterns) {
    absl::string_view whole = pattern;
    if (absl::ConsumePrefix(&whole, "^") ? module == whole
                                         : module == pattern || absl::EndsWith(module, absl::StrCat(".", pattern))) {
      return value;
    }
  }
  return otherwise;
}

bool IsPlain(absl::string_view pattern) {
  absl::ConsumePrefix(&pattern, "^");
  return std::all_of(pattern.begin(), pattern.end(),
                     [](char c) { return absl::ascii_isalnum(c) || c == '_' || c == '-' || c == '.'; });
}

}  // namespace

int64_t LoraConfig::RankOf(absl::string_view module) const {
  return static_cast<int64_t>(Fitting(rank_of, module, static_cast<double>(rank)));
}

double LoraConfig::Scale(absl::string_view module, int64_t rank) const {
  const double own = Fitting(alpha_of, module, alpha);
  const double r = static_cast<double>(rank);
  return own / (rank_stabilized ? std::sqrt(r) : r);
}

absl::StatusOr<LoraConfig> LoraConfig::Parse(absl::string_view json, const std::string& path) {
  MG_ASSIGN_OR_RETURN(const nlohmann::ordered_json parsed, ParseJsonObject(json, path));
  const JsonObject object(parsed, path);
  const auto unsupported = [&](absl::string_view what) {
    return absl::UnimplementedError(absl::StrCat("'", path, "': ", what, "; merge the adapter with PEFT first"));
  };
  MG_ASSIGN_OR_RETURN(const auto type, object.String("peft_type"));
  if (type.value_or("") != "LORA") return unsupported(absl::StrCat("peft_type '", type.value_or(""), "' is not LORA"));
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
  MG_ASSIGN_OR_RETURN(const auto rank, object.Double("r", {1, kRankMax}));
  config.rank = static_cast<int64_t>(rank.value_or(0));
  const std::pair<const char*, std::vector<std::pair<std::string, double>>*> kinds[] = {{"alpha_pattern", &config.alpha_of},
                                                                                        {"rank_pattern", &config.rank_of}};
  for (const auto& [field, values] : kinds) {
    MG_ASSIGN_OR_RETURN(const auto patterns, object.Object(field));
    if (!patterns) continue;
    for (const auto& [name, value] : patterns->json().items()) {
      if (!IsPlain(name)) return unsupported(absl::StrCat(field, " '", name, "' is a regular expression"));
      MG_ASSIGN_OR_RETURN(const auto own, patterns->Double(name, {-1e9, 1e9}));
      if (own) values->emplace_back(name, *own);
    }
  }
  if (const nlohmann::ordered_json* start = object.Get("init_lora_weights"); start != nullptr && start->is_string()) {
    const std::string name = absl::AsciiStrToLower(start->get<std::string>());
    if (name != "gaussian" && name != "eva" && name != "orthogonal") {
      return unsupported(absl::StrCat("init_lora_weights '", name, "' changes the model that the adapter is added to"));
    }
  }
  return config;
}

}  // namespace merganser
