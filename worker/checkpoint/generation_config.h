// Generation defaults of a checkpoint: generation_config.json.
#ifndef MERGANSER_WORKER_CHECKPOINT_GENERATION_CONFIG_H_
#define MERGANSER_WORKER_CHECKPOINT_GENERATION_CONFIG_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "worker/checkpoint/model_config.h"

namespace merganser {

struct GenerationConfig {
  std::vector<int32_t> eos_token_ids;  // generation ends at any of them
  std::optional<int32_t> bos_token_id;
  std::optional<int32_t> pad_token_id;
  std::optional<int64_t> max_new_tokens;
  std::optional<int64_t> max_length;
  bool do_sample = false;
  std::optional<double> temperature;         // >= 0
  std::optional<double> top_p;               // in (0, 1]
  std::optional<int64_t> top_k;              // >= 0
  std::optional<double> repetition_penalty;  // > 0
  int64_t num_beams = 1;

  // What a checkpoint without generation_config.json means: the token ids of its config.json.
  static GenerationConfig FromModelConfig(const ModelConfig& config);

  // Parses the text of a generation_config.json; token ids that it does not give come from
  // `config`. `path` is for messages. InvalidArgument: not JSON, or a value of the wrong type or
  // out of bounds (names file, field, value and bound).
  static absl::StatusOr<GenerationConfig> Parse(absl::string_view json, const std::string& path, const ModelConfig& config);
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_CHECKPOINT_GENERATION_CONFIG_H_
