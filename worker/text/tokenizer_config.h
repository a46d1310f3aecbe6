// tokenizer_config.json (with special_tokens_map.json and the chat template files) of a checkpoint
// directory: the part of Hugging Face's tokenizer files that tokenizer.json does not hold.
#ifndef MERGANSER_WORKER_TEXT_TOKENIZER_CONFIG_H_
#define MERGANSER_WORKER_TEXT_TOKENIZER_CONFIG_H_

#include <cstdint>
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
  // special_tokens_map.json is read, and wins, only where tokenizer_config.json has no added_tokens_decoder: the rule of
  // transformers 5.
  std::map<std::string, std::string> special_tokens;
  // The JSON object added_tokens_decoder, "{}" if absent.
  std::string added_tokens_decoder = "{}";
  // Of a directory without an added_tokens_decoder, added_tokens.json in the same form ("{}" if absent): only for those
  // without tokenizer.json, which has these tokens itself.
  std::string legacy_added_tokens = "{}";
  // JSON lists of further special tokens, texts or objects as above: what further fields that end in _token name
  // (image_token), and extra_special_tokens (else additional_special_tokens), which, where it is said, if only as an empty
  // list, stands in the place of SentencePiece's control and user-defined pieces.
  std::string named_special_tokens = "[]";
  std::optional<std::string> extra_special_tokens;
  // What decides how a directory without tokenizer.json is read (sentencepiece_tokenizer.h): tokenizer_class ("" if neither
  // tokenizer_config.json nor config.json has it), config.json's model_type, and legacy and add_prefix_space if they are
  // there (a null `legacy` is false); extra_ids, of T5Tokenizer.
  std::string tokenizer_class;
  std::string model_type;
  std::optional<bool> legacy;
  std::optional<bool> add_prefix_space;
  int64_t extra_ids = 100;
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
