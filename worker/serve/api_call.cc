#include "worker/serve/api_call.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "nlohmann/json.hpp"
#include "worker/serve/api_error.h"
#include "worker/serve/chat_messages.h"
#include "worker/serve/json_fields.h"
#include "worker/vision/image_prompt.h"

namespace merganser {
namespace {

using nlohmann::json;

constexpr int kPromptsMax = 1024;
constexpr int kChoicesMax = 128;
constexpr int kStopsMax = 64;
constexpr int kCompletionAlternativesMax = 5, kChatAlternativesMax = 20;  // OpenAI's own bounds
constexpr int kCompletionTokens = 16;                                     // OpenAI's default

absl::StatusOr<json> ParseObject(absl::string_view body) {
  json object = json::parse(body, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return absl::InvalidArgumentError("the body is no JSON object");
  return object;
}

absl::Status CheckModel(JsonFields& fields, const ServedModel& model) {
  std::string name;
  MG_RETURN_IF_ERROR(fields.String("model", &name));
  if (name.empty()) return ParamError("model", absl::StrCat("is missing; this server has '", model.names[0], "'"));
  if (std::find(model.names.begin(), model.names.end(), name) != model.names.end()) return absl::OkStatus();
  return absl::NotFoundError(absl::StrCat("model '", name, "' is not served here; this server has '", model.names[0], "'"));
}

absl::Status ReadStop(JsonFields& fields, std::vector<std::string>* stop) {
  const json* field = fields.Take("stop");
  if (field == nullptr) return absl::OkStatus();
  if (field->is_string()) {
    stop->push_back(field->get<std::string>());
  } else if (field->is_array()) {
    for (const json& text : *field) {
      if (!text.is_string()) return ParamError("stop", "must be a string or a list of strings");
      stop->push_back(text.get<std::string>());
    }
  } else {
    return ParamError("stop", "must be a string or a list of strings");
  }
  std::erase(*stop, "");  // clients send it where they have none
  if (stop->size() > kStopsMax) {
    return ParamError("stop", absl::StrCat("has ", stop->size(), " strings, more than ", kStopsMax));
  }
  return absl::OkStatus();
}

// What both endpoints have.
absl::Status ReadCommon(JsonFields& fields, const ServedModel& model, ApiCall* call) {
  MG_RETURN_IF_ERROR(CheckModel(fields, model));
  call->sampling.temperature = 1;
  MG_RETURN_IF_ERROR(fields.Number("temperature", 0, 2, &call->sampling.temperature));
  MG_RETURN_IF_ERROR(fields.Number("top_p", 0, 1, &call->sampling.top_p));
  // 0 means nothing but the most likely token; so does a top_p that only it reaches.
  call->sampling.top_p = std::max(call->sampling.top_p, 1e-9);
  int64_t top_k = 0;
  MG_RETURN_IF_ERROR(fields.Integer("top_k", -1, INT32_MAX, &top_k));
  call->sampling.top_k = static_cast<int>(std::max<int64_t>(0, top_k));
  MG_RETURN_IF_ERROR(fields.Number("repetition_penalty", 0.01, 100, &call->sampling.repetition_penalty));
  int64_t choices = 1;
  MG_RETURN_IF_ERROR(fields.Integer("n", 1, kChoicesMax, &choices));
  call->choices = static_cast<int>(choices);
  MG_RETURN_IF_ERROR(fields.Bool("stream", &call->stream));
  if (const json* options = fields.Take("stream_options"); options != nullptr) {
    if (!options->is_object()) return ParamError("stream_options", "must be an object");
    if (!call->stream) return ParamError("stream_options", "is only for stream: true");
    JsonFields inner(*options);
    MG_RETURN_IF_ERROR(inner.Bool("include_usage", &call->stream_usage));
    MG_RETURN_IF_ERROR(inner.CheckAllTaken());
  }
  MG_RETURN_IF_ERROR(ReadStop(fields, &call->stop));
  if (const json* seed = fields.Take("seed"); seed == nullptr) {
    std::random_device random;
    call->sampling.seed = (uint64_t{random()} << 32) | random();
  } else if (seed->is_number_unsigned()) {
    call->sampling.seed = seed->get<uint64_t>();
  } else if (seed->is_number_integer()) {
    call->sampling.seed = static_cast<uint64_t>(seed->get<int64_t>());
  } else {
    return ParamError("seed", "must be an integer");
  }
  MG_RETURN_IF_ERROR(fields.Neutral("presence_penalty", 0));
  MG_RETURN_IF_ERROR(fields.Neutral("frequency_penalty", 0));
  MG_RETURN_IF_ERROR(fields.Neutral("logit_bias", json::object()));
  fields.Ignore("user");
  return absl::OkStatus();
}

absl::Status CheckTokens(const json& list, const ServedModel& model, std::vector<int32_t>* tokens) {
  for (const json& token : list) {
    if (!token.is_number_integer() || token.get<int64_t>() < 0 || token.get<int64_t>() >= model.vocab_size) {
      return ParamError("prompt",
                        absl::StrCat("has ", token.dump(), ", which is no token id in [0, ", model.vocab_size - 1, "]"));
    }
    tokens->push_back(static_cast<int32_t>(token.get<int64_t>()));
  }
  return absl::OkStatus();
}

// One prompt: a text, or token ids.
absl::Status AddPrompt(const json& prompt, const ServedModel& model, ApiCall* call) {
  std::vector<int32_t> tokens;
  std::string text;
  if (prompt.is_string()) {
    text = prompt.get<std::string>();
    absl::StatusOr<std::vector<int32_t>> encoded = model.tokenizer->Encode(text, /*add_special_tokens=*/true);
    if (!encoded.ok()) return ParamError("prompt", encoded.status().message());
    tokens = *std::move(encoded);
  } else if (prompt.is_array()) {
    MG_RETURN_IF_ERROR(CheckTokens(prompt, model, &tokens));
    if (call->echo) {
      MG_ASSIGN_OR_RETURN(text, model.tokenizer->Decode(tokens, /*skip_special_tokens=*/true));
    }
  } else {
    return ParamError("prompt", "must be a string, a list of token ids, or a list of those");
  }
  if (tokens.empty()) return ParamError("prompt", "is empty");
  call->prompts.push_back(std::move(tokens));
  call->prompt_texts.push_back(std::move(text));
  return absl::OkStatus();
}

absl::Status ReadPrompts(JsonFields& fields, const ServedModel& model, ApiCall* call) {
  const json* prompt = fields.Take("prompt");
  if (prompt == nullptr) return ParamError("prompt", "is missing");
  const bool several = prompt->is_array() && !prompt->empty() && !(*prompt)[0].is_number();
  if (!several) return AddPrompt(*prompt, model, call);
  if (prompt->size() > kPromptsMax) {
    return ParamError("prompt", absl::StrCat("has ", prompt->size(), " prompts, more than ", kPromptsMax));
  }
  for (const json& one : *prompt) MG_RETURN_IF_ERROR(AddPrompt(one, model, call));
  return absl::OkStatus();
}

absl::Status CheckLengths(const ApiCall& call, const ServedModel& model, absl::string_view param) {
  for (const std::vector<int32_t>& prompt : call.prompts) {
    const int64_t needed = static_cast<int64_t>(prompt.size()) + call.max_tokens;
    if (needed <= model.max_length) continue;
    return ParamError(param,
                      absl::StrCat("has ", prompt.size(), " tokens, with max_tokens ", call.max_tokens, " together ", needed,
                                   ": more than this server's ", model.max_length, " positions"),
                      "context_length_exceeded");
  }
  return absl::OkStatus();
}

// The pictures' rows in their places of the call's only prompt.
absl::Status PutPictures(const std::vector<std::string>& files, const ServedModel& model, ApiCall* call) {
  if (files.empty()) return absl::OkStatus();
  std::vector<int> rows;
  for (size_t i = 0; i < files.size(); ++i) {
    absl::StatusOr<SeenPicture> seen = model.pictures->Read(files[i]);
    if (absl::IsInvalidArgument(seen.status()) || absl::IsResourceExhausted(seen.status())) {
      return ParamError("messages", absl::StrCat("have a picture (", i + 1, " of ", files.size(),
                                                 ") that cannot be read: ", seen.status().message()));
    }
    MG_RETURN_IF_ERROR(seen.status());
    rows.push_back(seen->rows);
    call->pictures.push_back(std::make_shared<const SeenPicture>(*std::move(seen)));
  }
  absl::StatusOr<ImagePrompt> prompt = ExpandImageTokens(call->prompts[0], model.pictures->image_token(), rows);
  if (!prompt.ok()) return ParamError("messages", absl::StrCat("do not fit their pictures: ", prompt.status().message()));
  call->prompts[0] = std::move(prompt->tokens);
  for (size_t i = 0; i < rows.size(); ++i) {
    call->embeddings.push_back({prompt->positions[i], rows[i], call->pictures[i]->values.data()});
  }
  return absl::OkStatus();
}

}  // namespace

GenerationRequest ApiCall::Request(size_t prompt, int choice) const {
  GenerationRequest request;
  request.prompt = prompts[prompt];
  request.max_new_tokens = max_tokens;
  request.stop = stop;
  request.sampling = sampling;
  request.sampling.sample = static_cast<uint64_t>(choice);
  request.embeddings = embeddings;
  request.log_probs = log_probs ? std::max(1, alternatives) : 0;
  // Without log-probabilities an echo is the text alone; a request for no token at all still runs, to be found valid.
  request.score_prompt = (echo && log_probs) || max_tokens == 0;
  return request;
}

absl::StatusOr<ApiCall> ParseCompletionCall(absl::string_view body, const ServedModel& model) {
  MG_ASSIGN_OR_RETURN(const json object, ParseObject(body));
  JsonFields fields(object);
  ApiCall call;
  MG_RETURN_IF_ERROR(ReadCommon(fields, model, &call));
  MG_RETURN_IF_ERROR(fields.Bool("echo", &call.echo));
  int64_t max_tokens = kCompletionTokens;
  MG_RETURN_IF_ERROR(fields.Integer("max_tokens", 0, INT32_MAX, &max_tokens));
  call.max_tokens = static_cast<int>(max_tokens);
  if (max_tokens == 0 && !call.echo) return ParamError("max_tokens", "is 0, which only goes with echo: true");
  int64_t log_probs = -1;
  MG_RETURN_IF_ERROR(fields.Integer("logprobs", 0, kCompletionAlternativesMax, &log_probs));
  call.log_probs = log_probs >= 0;
  call.alternatives = static_cast<int>(std::max<int64_t>(0, log_probs));
  MG_RETURN_IF_ERROR(fields.Neutral("best_of", call.choices));
  MG_RETURN_IF_ERROR(fields.Neutral("suffix", ""));
  MG_RETURN_IF_ERROR(ReadPrompts(fields, model, &call));
  MG_RETURN_IF_ERROR(fields.CheckAllTaken());
  MG_RETURN_IF_ERROR(CheckLengths(call, model, "prompt"));
  return call;
}

absl::StatusOr<ApiCall> ParseChatCall(absl::string_view body, const ServedModel& model) {
  MG_ASSIGN_OR_RETURN(const json object, ParseObject(body));
  JsonFields fields(object);
  ApiCall call;
  call.chat = true;
  MG_RETURN_IF_ERROR(ReadCommon(fields, model, &call));
  MG_ASSIGN_OR_RETURN(const ChatPrompt prompt, RenderMessages(fields, model));
  absl::StatusOr<std::vector<int32_t>> encoded = model.tokenizer->Encode(prompt.text, /*add_special_tokens=*/false);
  if (!encoded.ok()) return ParamError("messages", encoded.status().message());
  if (encoded->empty()) return ParamError("messages", "give an empty prompt");
  int64_t max_tokens = 0;  // all that fits
  MG_RETURN_IF_ERROR(fields.Integer("max_tokens", 1, INT32_MAX, &max_tokens));
  MG_RETURN_IF_ERROR(fields.Integer("max_completion_tokens", 1, INT32_MAX, &max_tokens));
  MG_RETURN_IF_ERROR(fields.Bool("logprobs", &call.log_probs));
  int64_t alternatives = 0;
  MG_RETURN_IF_ERROR(fields.Integer("top_logprobs", 0, kChatAlternativesMax, &alternatives));
  if (alternatives > 0 && !call.log_probs) return ParamError("top_logprobs", "is only for logprobs: true");
  call.alternatives = static_cast<int>(alternatives);
  MG_RETURN_IF_ERROR(fields.Neutral("response_format", {{"type", "text"}}));
  MG_RETURN_IF_ERROR(fields.Neutral("tools", json::array()));
  MG_RETURN_IF_ERROR(fields.Neutral("tool_choice", "none"));
  MG_RETURN_IF_ERROR(fields.Neutral("store", false));
  fields.Ignore("metadata");
  MG_RETURN_IF_ERROR(fields.CheckAllTaken());
  call.prompts.push_back(*std::move(encoded));
  call.prompt_texts.emplace_back();
  MG_RETURN_IF_ERROR(PutPictures(prompt.pictures, model, &call));  // last: it takes time
  const int64_t left = model.max_length - static_cast<int64_t>(call.prompts[0].size());
  call.max_tokens = static_cast<int>(max_tokens > 0 ? max_tokens : std::max<int64_t>(1, left));
  MG_RETURN_IF_ERROR(CheckLengths(call, model, "messages"));
  return call;
}

}  // namespace merganser
