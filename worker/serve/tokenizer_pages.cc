#include "worker/serve/tokenizer_pages.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/serve/api_error.h"
#include "worker/serve/chat_messages.h"
#include "worker/serve/json_fields.h"

namespace merganser {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

absl::StatusOr<json> ParseBody(absl::string_view body) {
  json object = json::parse(body, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return absl::InvalidArgumentError("the body is no JSON object");
  return object;
}

absl::Status CheckName(JsonFields& fields, const ServedModel& model) {
  std::string name = model.names[0];
  MG_RETURN_IF_ERROR(fields.String("model", &name));
  if (std::find(model.names.begin(), model.names.end(), name) != model.names.end()) return absl::OkStatus();
  return absl::NotFoundError(absl::StrCat("model '", name, "' is not served here; this server has '", model.names[0], "'"));
}

}  // namespace

absl::StatusOr<ordered_json> TokenizePage(absl::string_view body, const ServedModel& model) {
  MG_ASSIGN_OR_RETURN(const json object, ParseBody(body));
  JsonFields fields(object);
  MG_RETURN_IF_ERROR(CheckName(fields, model));
  MG_RETURN_IF_ERROR(fields.Neutral("return_token_strs", false));
  std::string text;
  const bool chat = object.contains("messages");
  if (chat) {
    MG_ASSIGN_OR_RETURN(ChatPrompt prompt, RenderMessages(fields, model));
    if (!prompt.pictures.empty()) return ParamError("messages", "have a picture; only texts are tokenized here");
    MG_RETURN_IF_ERROR(fields.Neutral("add_generation_prompt", true));
    text = std::move(prompt.text);
  } else {
    const json* prompt = fields.Take("prompt");
    if (prompt == nullptr || !prompt->is_string()) return ParamError("prompt", "must be a string");
    text = prompt->get<std::string>();
  }
  bool add_special_tokens = !chat;
  MG_RETURN_IF_ERROR(fields.Bool("add_special_tokens", &add_special_tokens));
  MG_RETURN_IF_ERROR(fields.CheckAllTaken());
  const absl::StatusOr<std::vector<int32_t>> tokens = model.tokenizer->Encode(text, add_special_tokens);
  if (!tokens.ok()) return ParamError(chat ? "messages" : "prompt", tokens.status().message());
  return ordered_json{{"count", tokens->size()}, {"max_model_len", model.max_length}, {"tokens", *tokens}};
}

absl::StatusOr<ordered_json> DetokenizePage(absl::string_view body, const ServedModel& model) {
  MG_ASSIGN_OR_RETURN(const json object, ParseBody(body));
  JsonFields fields(object);
  MG_RETURN_IF_ERROR(CheckName(fields, model));
  const json* list = fields.Take("tokens");
  if (list == nullptr || !list->is_array()) return ParamError("tokens", "must be a list of token ids");
  MG_RETURN_IF_ERROR(fields.CheckAllTaken());
  std::vector<int32_t> tokens;
  for (const json& token : *list) {
    if (!token.is_number_integer() || token.get<int64_t>() < 0 || token.get<int64_t>() >= model.vocab_size) {
      return ParamError("tokens",
                        absl::StrCat("has ", token.dump(), ", which is no token id in [0, ", model.vocab_size - 1, "]"));
    }
    tokens.push_back(static_cast<int32_t>(token.get<int64_t>()));
  }
  MG_ASSIGN_OR_RETURN(std::string text, model.tokenizer->Decode(tokens, /*skip_special_tokens=*/false));
  return ordered_json{{"prompt", std::move(text)}};
}

absl::StatusOr<ordered_json> TokenizerInfoPage(const ServedModel& model) {
  ordered_json info = {{"bos_token", nullptr},
                       {"eos_token", nullptr},
                       {"vocab_size", model.tokenizer->vocab_size()},
                       {"model_max_length", model.max_length},
                       {"chat_template", nullptr}};
  const auto spell = [&](const char* name, std::optional<int32_t> id) -> absl::Status {
    if (!id) return absl::OkStatus();
    MG_ASSIGN_OR_RETURN(info[name], model.tokenizer->Decode({*id}, /*skip_special_tokens=*/false));
    return absl::OkStatus();
  };
  MG_RETURN_IF_ERROR(spell("bos_token", model.tokenizer->bos_id()));
  MG_RETURN_IF_ERROR(spell("eos_token", model.tokenizer->eos_id()));
  if (model.chat_template.ok()) info["chat_template"] = model.chat_template->source();
  return info;
}

}  // namespace merganser
