// The messages of a chat request: to the prompt's text and the pictures that stand in it.
#ifndef MERGANSER_WORKER_SERVE_CHAT_MESSAGES_H_
#define MERGANSER_WORKER_SERVE_CHAT_MESSAGES_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/serve/json_fields.h"
#include "worker/serve/served_model.h"

namespace merganser {

struct ChatPrompt {
  std::string text;                   // spells its own BOS; "<image>" where a picture stands
  std::vector<std::string> pictures;  // files of JPEG or PNG, in order
};

// Takes `messages` and `chat_template_kwargs`. A message's content is a string or parts: {"type": "text"} and, for a model
// that sees, {"type": "image_url"} with a data: URL; nothing is ever fetched. A picture stands on a line of its own.
// ParamError.
absl::StatusOr<ChatPrompt> RenderMessages(JsonFields& fields, const ServedModel& model);

}  // namespace merganser

#endif  // MERGANSER_WORKER_SERVE_CHAT_MESSAGES_H_
