#include "worker/checkpoint/generation_config.h"

#include "common/base/status_macros.h"
#include "worker/checkpoint/json_object.h"

namespace merganser {

GenerationConfig GenerationConfig::FromModelConfig(const ModelConfig& config) {
  GenerationConfig result;
  result.eos_token_ids = config.eos_token_ids;
  result.bos_token_id = config.bos_token_id;
  result.pad_token_id = config.pad_token_id;
  return result;
}

absl::StatusOr<GenerationConfig> GenerationConfig::Parse(absl::string_view text, const std::string& path,
                                                         const ModelConfig& config) {
  constexpr int64_t kTokensMax = int64_t{1} << 31;
  constexpr double kFactorMax = 1e6;
  MG_ASSIGN_OR_RETURN(const nlohmann::ordered_json parsed, ParseJsonObject(text, path));
  const JsonObject json(parsed, path);
  GenerationConfig result = FromModelConfig(config);
  MG_ASSIGN_OR_RETURN(std::vector<int32_t> eos, json.TokenIds("eos_token_id"));
  if (!eos.empty()) result.eos_token_ids = std::move(eos);
  MG_ASSIGN_OR_RETURN(const std::optional<int32_t> bos, json.TokenId("bos_token_id"));
  if (bos) result.bos_token_id = bos;
  MG_ASSIGN_OR_RETURN(const std::optional<int32_t> pad, json.TokenId("pad_token_id"));
  if (pad) result.pad_token_id = pad;
  MG_ASSIGN_OR_RETURN(result.max_new_tokens, json.Int("max_new_tokens", 0, kTokensMax));
  MG_ASSIGN_OR_RETURN(result.max_length, json.Int("max_length", 0, kTokensMax));
  MG_ASSIGN_OR_RETURN(result.do_sample, json.Bool("do_sample", false));
  MG_ASSIGN_OR_RETURN(result.temperature, json.Double("temperature", {0, kFactorMax}));
  MG_ASSIGN_OR_RETURN(result.top_p, json.Double("top_p", {0, 1, /*low_open=*/true}));
  MG_ASSIGN_OR_RETURN(result.top_k, json.Int("top_k", 0, kTokensMax));
  MG_ASSIGN_OR_RETURN(result.repetition_penalty, json.Double("repetition_penalty", {0, kFactorMax, /*low_open=*/true}));
  MG_ASSIGN_OR_RETURN(const std::optional<int64_t> beams, json.Int("num_beams", 1, 1024));
  if (beams) result.num_beams = *beams;
  return result;
}

}  // namespace merganser
