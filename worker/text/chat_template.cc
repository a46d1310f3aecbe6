#include "worker/text/chat_template.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status_macros.h"
#include "worker/text/tokenizer_config.h"

namespace merganser {
namespace {

// Ordered: a template that prints a tool or a message with tojson prints its members in the order
// given.
using Json = nlohmann::ordered_json;

Json ParseOrDiscarded(absl::string_view text) {
  return Json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
}

}  // namespace

ChatTemplate::ChatTemplate(std::string source, Template compiled, std::map<std::string, std::string> special_tokens)
    : source_(std::move(source)), template_(std::move(compiled)), special_tokens_(std::move(special_tokens)) {}

absl::StatusOr<ChatTemplate> ChatTemplate::Load(const std::string& checkpoint_dir) {
  MG_ASSIGN_OR_RETURN(TokenizerConfig config, TokenizerConfig::Load(checkpoint_dir));
  if (config.chat_templates.empty()) {
    return absl::NotFoundError(absl::StrCat("no chat template in '", checkpoint_dir,
                                            "': neither chat_template.jinja nor chat_template.json "
                                            "nor chat_template in tokenizer_config.json"));
  }
  auto it = config.chat_templates.find("default");
  if (it == config.chat_templates.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", checkpoint_dir, "': no chat template is named default, only ",
                     absl::StrJoin(config.chat_templates, ", ",
                                   [](std::string* out, const auto& pair) { absl::StrAppend(out, "'", pair.first, "'"); })));
  }
  MG_ASSIGN_OR_RETURN(Template compiled,
                      Template::Compile(absl::StrCat(checkpoint_dir, ":chat_template"), it->second, TemplateKind::kChat));
  return ChatTemplate(it->second, std::move(compiled), std::move(config.special_tokens));
}

absl::StatusOr<std::string> ChatTemplate::Render(absl::string_view messages_json, bool add_generation_prompt,
                                                 absl::string_view extra_json, absl::Time now) const {
  Json messages = ParseOrDiscarded(messages_json);
  if (!messages.is_array()) return absl::InvalidArgumentError("messages: not a JSON array");
  Json kept = Json::array();
  for (size_t i = 0; i < messages.size(); ++i) {
    if (!messages[i].is_object()) {
      return absl::InvalidArgumentError(absl::StrCat("messages[", i, "]: not a JSON object"));
    }
    // As transformers does: templates know a missing member, and would print a null one.
    Json message = Json::object();
    for (auto& [key, value] : messages[i].items()) {
      if (!value.is_null()) message[key] = std::move(value);
    }
    kept.push_back(std::move(message));
  }
  Json extra = ParseOrDiscarded(extra_json);
  if (!extra.is_object()) return absl::InvalidArgumentError("extra variables: not a JSON object");

  // transformers always defines tools and documents.
  Json context = {{"tools", nullptr}, {"documents", nullptr}};
  for (const auto& [name, token] : special_tokens_) context[name] = token;
  for (auto& [name, value] : extra.items()) context[name] = std::move(value);
  context["messages"] = std::move(kept);
  context["add_generation_prompt"] = add_generation_prompt;
  // Cannot throw: everything was parsed as valid UTF-8, or came from a JSON file.
  return template_.Render(context.dump(), now);
}

}  // namespace merganser
