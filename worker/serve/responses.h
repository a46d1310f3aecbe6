// The endpoint's answers as JSON.
#ifndef MERGANSER_WORKER_SERVE_RESPONSES_H_
#define MERGANSER_WORKER_SERVE_RESPONSES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "nlohmann/json.hpp"
#include "worker/serve/api_call.h"
#include "worker/serve/call_run.h"
#include "worker/serve/served_model.h"
#include "worker/serve/token_texts.h"

namespace merganser {

// GET /v1/models, and one of its entries.
nlohmann::ordered_json ModelsJson(const ServedModel& model);
nlohmann::ordered_json ModelJson(const ServedModel& model);

// Builds the answer to one call, whole or as the chunks of a stream. Thread-compatible.
class ResponseWriter {
 public:
  // `call` and `texts` outlive this.
  ResponseWriter(const ApiCall& call, const std::string& model, TokenTexts& texts, int64_t created);

  // The whole answer: every delta, then the body.
  void Add(const ChoiceDelta& delta);
  std::string Body(int64_t prompt_tokens, int64_t completion_tokens);

  // A stream's events: each is "data: {...}\n\n".
  std::string Chunk(const ChoiceDelta& delta);
  // The counts, if they were asked for, and the end.
  std::string LastChunks(int64_t prompt_tokens, int64_t completion_tokens);

 private:
  struct Choice {
    std::string text;
    std::vector<ShownToken> shown;
    std::string finish_reason;
    size_t offset = 0;  // characters of the tokens shown so far
    bool begun = false;
  };
  nlohmann::ordered_json Head() const;
  // `text`: what the tokens gave, or the beginning of it.
  nlohmann::ordered_json LogProbs(Choice& choice, const std::string& text, const std::vector<ShownToken>& shown);
  nlohmann::ordered_json CompletionLogProbs(Choice& choice, const std::string& text, const std::vector<ShownToken>& shown);
  nlohmann::ordered_json ChatLogProbs(const std::vector<ShownToken>& shown);

  const ApiCall& call_;
  const std::string model_;
  TokenTexts& texts_;
  const int64_t created_;
  const std::string id_;
  std::vector<Choice> choices_;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_SERVE_RESPONSES_H_
