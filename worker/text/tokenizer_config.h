// tokenizer_config.json (with special_tokens_map.json and the chat template files) of a checkpoint
// directory: the part of Hugging Face's tokenizer files that tokenizer.json does not hold.
#ifndef MERGANSER_WORKER_TEXT_TOKENIZER_CONFIG_H_
#define MERGANSER_WORKER_TEXT_TOKENIZER_CONFIG_H_

#include <map>
#include <optional>
#include <string>

#include "absl/status/statusor.h"

namespace merganser {

struct TokenizerConfig {
  // Explicit add_bos_token / add_eos_token; absent, null or false are all false.
  bool add_bos_token = false;
  bool add_eos_token = false;
  // "bos_token" -> "<s>", for each of bos, eos, unk, sep, pad, cls and mask that is set.
  // tokenizer_config.json wins over special_tokens_map.json.
  std::map<std::string, std::string> special_tokens;
  // The JSON object added_tokens_decoder, "{}" if absent.
  std::string added_tokens_decoder = "{}";
  // What decides how a directory without tokenizer.json is read (sentencepiece_tokenizer.h): tokenizer_class ("" if neither
  // tokenizer_config.json nor config.json has it), config.json's model_type, and legacy and add_prefix_space if they are
  // there (a null `legacy` is false).
  std::string tokenizer_class;
  std::string model_type;
  std::optional<bool> legacy;
  std::optional<bool> add_prefix_space;
  // Of special_tokens, those that tokenizer_config.json (or special_tokens_map.json) spells as objects: their JSON.
  std::map<std::string, std::string> special_token_objects;
  // Chat templates by name ("default" is the one without a name): chat_template.jinja, else
  // chat_template.json, else the field chat_template of tokenizer_config.json (a string, or a list
  // of {name, template}).
  std::map<std::string, std::string> chat_templates;

  // Reads what `checkpoint_dir` has; files that are absent leave their fields at the defaults.
  // InvalidArgument naming the file and the field when one is not what it should be; the codes of
  // ReadFile otherwise.
  static absl::StatusOr<TokenizerConfig> Load(const std::string& checkpoint_dir);
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_TEXT_TOKENIZER_CONFIG_H_
