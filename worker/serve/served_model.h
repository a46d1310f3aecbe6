// What the endpoint knows of the model that it serves.
#ifndef MERGANSER_WORKER_SERVE_SERVED_MODEL_H_
#define MERGANSER_WORKER_SERVE_SERVED_MODEL_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/serve/picture_reader.h"
#include "worker/text/chat_template.h"
#include "worker/text/tokenizer.h"

namespace merganser {

struct ServedModel {
  std::vector<std::string> names;        // that requests may use; the first is the one that answers carry
  const Tokenizer* tokenizer = nullptr;  // outlives the server
  absl::StatusOr<ChatTemplate> chat_template = absl::NotFoundError("the checkpoint has no chat template");
  PictureReader* pictures = nullptr;  // of a model that sees; outlives the server
  int64_t max_length = 0;             // positions of a prompt with its new tokens
  int64_t vocab_size = 0;             // of the embedding: token ids lie below it
  int64_t created = 0;                // seconds since 1970
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_SERVE_SERVED_MODEL_H_
