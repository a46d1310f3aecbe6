// The pages /tokenize, /detokenize and /tokenizer_info, with the shapes that vLLM gave them and lm-evaluation-harness asks
// for (tokenizer_backend=remote).
#ifndef MERGANSER_WORKER_SERVE_TOKENIZER_PAGES_H_
#define MERGANSER_WORKER_SERVE_TOKENIZER_PAGES_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"
#include "worker/serve/served_model.h"

namespace merganser {

// {"count", "max_model_len", "tokens"} of `prompt` (add_special_tokens: true unless given) or of a chat's `messages`, which
// are rendered with a generation prompt (false unless given: the template spells them). `model` may be left out. ParamError,
// or NotFound for another model.
absl::StatusOr<nlohmann::ordered_json> TokenizePage(absl::string_view body, const ServedModel& model);

// {"prompt"}: the text of `tokens`, special ones as they are spelt. The same errors.
absl::StatusOr<nlohmann::ordered_json> DetokenizePage(absl::string_view body, const ServedModel& model);

// {"bos_token", "eos_token", "vocab_size", "model_max_length", "chat_template"}; a token or a chat template that the
// checkpoint does not have is null.
absl::StatusOr<nlohmann::ordered_json> TokenizerInfoPage(const ServedModel& model);

}  // namespace merganser

#endif  // MERGANSER_WORKER_SERVE_TOKENIZER_PAGES_H_
