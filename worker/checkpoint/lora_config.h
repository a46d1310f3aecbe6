// The adapter_config.json of a PEFT adapter.
#ifndef MERGANSER_WORKER_CHECKPOINT_LORA_CONFIG_H_
#define MERGANSER_WORKER_CHECKPOINT_LORA_CONFIG_H_

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace merganser {

struct LoraConfig {
  double alpha = 0;
  bool rank_stabilized = false;  // scale = alpha / sqrt(rank)
  bool fan_in_fan_out = false;   // the adapted matrices are stored [in, out]
  // By the end of a module's name ("q_proj", "layers.3.self_attn.q_proj").
  std::map<std::string, double> alpha_of;

  // What multiplies B A of `module` at rank `rank`.
  double Scale(absl::string_view module, int64_t rank) const;

  // Parses the file's text. `path` is for messages. InvalidArgument: not JSON or a field of the wrong
  // type. Unimplemented: not a LoRA, DoRA, or trained biases.
  static absl::StatusOr<LoraConfig> Parse(absl::string_view json, const std::string& path);
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_CHECKPOINT_LORA_CONFIG_H_
