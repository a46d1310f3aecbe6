// The adapter_config.json of a PEFT adapter.
#ifndef MERGANSER_WORKER_CHECKPOINT_LORA_CONFIG_H_
#define MERGANSER_WORKER_CHECKPOINT_LORA_CONFIG_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace merganser {

struct LoraConfig {
  double alpha = 0;
  int64_t rank = 0;              // 0: the file does not say
  bool rank_stabilized = false;  // scale = alpha / sqrt(rank)
  bool fan_in_fan_out = false;   // the adapted matrices are stored [in, out]
  // By the end of a module's name ("q_proj", "layers.3.self_attn.q_proj"), or by all of it ("^layers.3.self_attn.q_proj");
  // the first that fits counts.
  std::vector<std::pair<std::string, double>> alpha_of, rank_of;

  // The rank of `module`; 0: the file does not say.
  int64_t RankOf(absl::string_view module) const;
  // What multiplies B A of `module` at rank `rank`.
  double Scale(absl::string_view module, int64_t rank) const;

  // Parses the file's text. `path` is for messages. InvalidArgument: not JSON or a field of the wrong
  // type. Unimplemented: not a LoRA, DoRA, trained biases, patterns that are regular expressions, and initialisations that
  // change the model itself (PiSSA, OLoRA, CorDA, LoftQ, LoRA-GA): what the adapter is added to is then not the model.
  static absl::StatusOr<LoraConfig> Parse(absl::string_view json, const std::string& path);
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_CHECKPOINT_LORA_CONFIG_H_
