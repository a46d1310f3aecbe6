// A request to the endpoint, read and checked: what the two completion endpoints have in common from then on.
#ifndef MERGANSER_WORKER_SERVE_API_CALL_H_
#define MERGANSER_WORKER_SERVE_API_CALL_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "worker/engine/generator.h"
#include "worker/serve/picture_reader.h"
#include "worker/serve/served_model.h"

namespace merganser {

struct ApiCall {
  bool chat = false;  // /v1/chat/completions, else /v1/completions
  // Token ids of each prompt, special tokens included, and with `echo` its text.
  std::vector<std::vector<int32_t>> prompts;
  std::vector<std::string> prompt_texts;
  // Of a chat, whose prompt is the only one: its pictures, and where they stand. `embeddings` points into `pictures`.
  std::vector<std::shared_ptr<const SeenPicture>> pictures;
  std::vector<PromptEmbeddings> embeddings;
  int choices = 1;  // of each prompt ("n")
  int max_tokens = 0;
  std::vector<std::string> stop;
  Sampling sampling;
  bool log_probs = false;  // of the tokens, with this many alternatives
  int alternatives = 0;
  bool echo = false;  // the prompt comes back before its completion
  bool stream = false;
  bool stream_usage = false;  // the stream ends with the counts of tokens

  // The engine's request for choice `choice` of prompt `prompt`. `pictures` must outlive it.
  GenerationRequest Request(size_t prompt, int choice) const;
};

// Reads the body of /v1/completions: prompt (a string, several, token ids, or several lists of them), max_tokens (16),
// temperature (1), top_p, n, stream, stream_options, logprobs, echo, stop, seed; beyond OpenAI's: top_k,
// repetition_penalty. Without seed each call draws differently. Errors are ParamError, or NotFound for another model.
absl::StatusOr<ApiCall> ParseCompletionCall(absl::string_view body, const ServedModel& model);

// The same of /v1/chat/completions: messages (texts, and pictures for a model that sees), max_tokens or
// max_completion_tokens (all that fits), logprobs, top_logprobs; beyond OpenAI's: chat_template_kwargs.
absl::StatusOr<ApiCall> ParseChatCall(absl::string_view body, const ServedModel& model);

}  // namespace merganser

#endif  // MERGANSER_WORKER_SERVE_API_CALL_H_
