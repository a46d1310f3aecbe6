#include "worker/serve/responses.h"

#include <algorithm>
#include <atomic>
#include <random>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace merganser {
namespace {

using nlohmann::ordered_json;

// Told apart within a process by the count, between processes by the draw.
std::string NewId(bool chat) {
  static const uint64_t process = (uint64_t{std::random_device{}()} << 32) | std::random_device{}();
  static std::atomic<uint64_t> count{0};
  return absl::StrFormat("%s-%016x%06x", chat ? "chatcmpl" : "cmpl", process, count.fetch_add(1));
}

std::string Dump(const ordered_json& json) { return json.dump(-1, ' ', false, ordered_json::error_handler_t::replace); }

ordered_json Usage(int64_t prompt_tokens, int64_t completion_tokens) {
  return {{"prompt_tokens", prompt_tokens},
          {"completion_tokens", completion_tokens},
          {"total_tokens", prompt_tokens + completion_tokens}};
}

ordered_json OrNull(const std::string& text) { return text.empty() ? ordered_json(nullptr) : ordered_json(text); }

// The alternatives that were asked for; the engine may have given one more.
size_t Shown(const Generation::Position& position, int alternatives) {
  return std::min(position.best.size(), static_cast<size_t>(alternatives));
}

}  // namespace

ordered_json ModelJson(const ServedModel& model) {
  return {{"id", model.names[0]},
          {"object", "model"},
          {"created", model.created},
          {"owned_by", "merganser"},
          {"max_model_len", model.max_length}};
}

ordered_json ModelsJson(const ServedModel& model) {
  return {{"object", "list"}, {"data", ordered_json::array({ModelJson(model)})}};
}

ResponseWriter::ResponseWriter(const ApiCall& call, const std::string& model, TokenTexts& texts, int64_t created)
    : call_(call),
      model_(model),
      texts_(texts),
      created_(created),
      id_(NewId(call.chat)),
      choices_(call.prompts.size() * call.choices) {}

ordered_json ResponseWriter::Head() const {
  const char* object = !call_.chat ? "text_completion" : call_.stream ? "chat.completion.chunk" : "chat.completion";
  return {{"id", id_}, {"object", object}, {"created", created_}, {"model", model_}};
}

void ResponseWriter::Add(const ChoiceDelta& delta) {
  Choice& choice = choices_[delta.choice];
  choice.text += delta.text;
  choice.shown.insert(choice.shown.end(), delta.shown.begin(), delta.shown.end());
  if (!delta.finish_reason.empty()) choice.finish_reason = delta.finish_reason;
}

ordered_json ResponseWriter::CompletionLogProbs(Choice& choice, const std::string& all,
                                                const std::vector<ShownToken>& shown) {
  ordered_json tokens = ordered_json::array(), log_probs = tokens, top = tokens, offsets = tokens;
  for (const ShownToken& token : shown) {
    const TokenTexts::Text text = texts_.Of(token.token);
    tokens.push_back(text.shown);
    offsets.push_back(choice.offset);
    choice.offset += text.characters;
    // A decoder drops the space that the first word of a text begins with.
    const bool dropped = choice.offset > 0 && choice.offset == text.characters && absl::StartsWith(text.shown, " ") &&
                         !absl::StartsWith(all, " ");
    if (dropped) --choice.offset;
    if (!token.position.has_value()) {
      log_probs.push_back(nullptr);
      top.push_back(nullptr);
      continue;
    }
    log_probs.push_back(token.position->log_prob);
    if (call_.alternatives == 0) {
      top.push_back(nullptr);
      continue;
    }
    ordered_json best = ordered_json::object();
    for (size_t i = 0; i < Shown(*token.position, call_.alternatives); ++i) {
      const TokenLogProb& other = token.position->best[i];
      // Of two tokens that look alike the likelier stays.
      best.emplace(texts_.Of(other.token).shown, other.log_prob);
    }
    best.emplace(text.shown, token.position->log_prob);  // the chosen one is always among them
    top.push_back(std::move(best));
  }
  return {{"tokens", std::move(tokens)},
          {"token_logprobs", std::move(log_probs)},
          {"top_logprobs", std::move(top)},
          {"text_offset", std::move(offsets)}};
}

ordered_json ResponseWriter::ChatLogProbs(const std::vector<ShownToken>& shown) {
  const auto entry = [&](int32_t token, double log_prob) {
    const std::string text = texts_.Of(token).shown;
    ordered_json bytes = ordered_json::array();
    for (const char c : text) bytes.push_back(static_cast<unsigned char>(c));
    return ordered_json{{"token", text}, {"logprob", log_prob}, {"bytes", std::move(bytes)}};
  };
  ordered_json content = ordered_json::array();
  for (const ShownToken& token : shown) {
    ordered_json one = entry(token.token, token.position->log_prob);
    ordered_json top = ordered_json::array();
    for (size_t i = 0; i < Shown(*token.position, call_.alternatives); ++i) {
      top.push_back(entry(token.position->best[i].token, token.position->best[i].log_prob));
    }
    one["top_logprobs"] = std::move(top);
    content.push_back(std::move(one));
  }
  return {{"content", std::move(content)}};
}

ordered_json ResponseWriter::LogProbs(Choice& choice, const std::string& text, const std::vector<ShownToken>& shown) {
  if (!call_.log_probs) return nullptr;
  return call_.chat ? ChatLogProbs(shown) : CompletionLogProbs(choice, text, shown);
}

std::string ResponseWriter::Body(int64_t prompt_tokens, int64_t completion_tokens) {
  ordered_json body = Head();
  ordered_json list = ordered_json::array();
  for (size_t i = 0; i < choices_.size(); ++i) {
    Choice& choice = choices_[i];
    ordered_json one = {{"index", i}};
    if (call_.chat) {
      one["message"] = {{"role", "assistant"}, {"content", choice.text}};
    } else {
      one["text"] = choice.text;
    }
    one["logprobs"] = LogProbs(choice, choice.text, choice.shown);
    one["finish_reason"] = OrNull(choice.finish_reason);
    list.push_back(std::move(one));
  }
  body["choices"] = std::move(list);
  body["usage"] = Usage(prompt_tokens, completion_tokens);
  return Dump(body);
}

std::string ResponseWriter::Chunk(const ChoiceDelta& delta) {
  Choice& choice = choices_[delta.choice];
  ordered_json one = {{"index", delta.choice}};
  if (call_.chat) {
    one["delta"] = ordered_json::object();
    if (!choice.begun) one["delta"]["role"] = "assistant";
    if (!delta.text.empty() || !choice.begun) one["delta"]["content"] = delta.text;
    choice.begun = true;
  } else {
    one["text"] = delta.text;
  }
  one["logprobs"] = delta.shown.empty() ? ordered_json(nullptr) : LogProbs(choice, delta.text, delta.shown);
  one["finish_reason"] = OrNull(delta.finish_reason);
  ordered_json body = Head();
  body["choices"] = ordered_json::array({std::move(one)});
  return absl::StrCat("data: ", Dump(body), "\n\n");
}

std::string ResponseWriter::LastChunks(int64_t prompt_tokens, int64_t completion_tokens) {
  std::string chunks;
  if (call_.stream_usage) {
    ordered_json body = Head();
    body["choices"] = ordered_json::array();
    body["usage"] = Usage(prompt_tokens, completion_tokens);
    absl::StrAppend(&chunks, "data: ", Dump(body), "\n\n");
  }
  absl::StrAppend(&chunks, "data: [DONE]\n\n");
  return chunks;
}

}  // namespace merganser
