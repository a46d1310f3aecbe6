// The tokens of a tokenizer.json, as far as rows of embeddings are concerned.
#ifndef MERGANSER_WORKER_CHECKPOINT_TOKENIZER_VOCABULARY_H_
#define MERGANSER_WORKER_CHECKPOINT_TOKENIZER_VOCABULARY_H_

#include <map>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace merganser {

struct TokenizerVocabulary {
  std::vector<std::string> tokens;            // by id; "" where no token has that id
  absl::flat_hash_map<std::string, int> ids;  // by token
  std::map<std::string, std::string> added;   // of added tokens: their JSON entry
  std::string json;                           // the file's text

  // Reads DIR/tokenizer.json. NotFound (the message tells how to make one) without it; InvalidArgument
  // naming the file if it is no tokenizer, or an id is negative, beyond 2^30 or used twice.
  static absl::StatusOr<TokenizerVocabulary> Read(const std::string& dir);
};

// `vocabulary`'s file with more added tokens, which get the ids from tokens.size() on. `entries`: the
// JSON entry of each, or "" for a plain token of the name in `names`.
absl::StatusOr<std::string> TokenizerJsonWith(const TokenizerVocabulary& vocabulary, const std::vector<std::string>& names,
                                              const std::vector<std::string>& entries);

// The chat template of a checkpoint directory: chat_template.jinja, else the field of
// tokenizer_config.json; "" if it has none.
absl::StatusOr<std::string> ReadChatTemplate(const std::string& dir);

// DIR/tokenizer_config.json with `chat_template`; "" if the directory has no such file.
absl::StatusOr<std::string> TokenizerConfigWithTemplate(const std::string& dir, const std::string& chat_template);

}  // namespace merganser

#endif  // MERGANSER_WORKER_CHECKPOINT_TOKENIZER_VOCABULARY_H_
