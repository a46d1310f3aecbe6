#include "worker/serve/chat_messages.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "nlohmann/json.hpp"
#include "worker/serve/api_error.h"

namespace merganser {
namespace {

using nlohmann::json;

constexpr absl::string_view kImageMark = "<image>";
constexpr size_t kPicturesMax = 16;             // of a request
constexpr size_t kPictureBytesMax = 10u << 20;  // of the file that a data: URL holds
constexpr size_t kUrlShown = 40;                // bytes of a URL in a message

// A content in the two forms that templates want.
struct Content {
  std::string text;            // marks for pictures
  json parts = json::array();  // {"type": "image"}, {"type": "text", "text"}
};

std::string Dump(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }

// The file in a data: URL.
absl::StatusOr<std::string> DataOf(absl::string_view url, const std::string& param) {
  std::string shown(url.substr(0, kUrlShown));
  if (url.size() > kUrlShown) shown += "...";
  const auto wrong = [&](absl::string_view why) {
    return ParamError(param, absl::StrCat("is '", absl::Utf8SafeCEscape(shown), "', ", why,
                                          "; data:image/jpeg;base64,... and data:image/png;base64,... are read"));
  };
  const std::string head = absl::AsciiStrToLower(url.substr(0, url.find(',')));
  if (!absl::StartsWith(head, "data:")) return wrong("no data: URL, and nothing is fetched here");
  const bool known = head == "data:image/jpeg;base64" || head == "data:image/jpg;base64" || head == "data:image/png;base64";
  if (!known || head.size() == url.size()) return wrong("which is no JPEG or PNG in base64");
  const absl::string_view encoded = url.substr(head.size() + 1);
  if (encoded.size() / 4 * 3 > kPictureBytesMax) {
    return ParamError(
        param, absl::StrCat("holds a picture of about ", encoded.size() / 4 * 3, " bytes, more than ", kPictureBytesMax));
  }
  std::string bytes;
  if (!absl::Base64Unescape(encoded, &bytes) || bytes.empty()) return wrong("whose data is no base64");
  return bytes;
}

absl::StatusOr<std::string> PictureOf(const json& part, const std::string& param, const ServedModel& model) {
  if (model.pictures == nullptr) {
    return ParamError(param, absl::StrCat("is a picture, and '", model.names[0], "' is served without eyes: text only"));
  }
  const auto url = part.find("image_url");
  if (url == part.end() || !url->is_object())
    return ParamError(absl::StrCat(param, ".image_url"), "must be an object with a url");
  for (const auto& [name, value] : url->items()) {
    const bool neutral = name == "detail" && (value.is_null() || value == "auto");
    if (name == "url" || neutral) continue;
    return ParamError(absl::StrCat(param, ".image_url.", name), name == "detail"
                                                                    ? "is not supported here: leave it out, or at \"auto\""
                                                                    : "is no argument that this server knows");
  }
  const std::string url_param = absl::StrCat(param, ".image_url.url");
  if (!url->contains("url") || !(*url)["url"].is_string()) return ParamError(url_param, "must be a string");
  return DataOf((*url)["url"].get_ref<const std::string&>(), url_param);
}

void AddText(absl::string_view text, bool own_line, Content* content) {
  const bool breaks = content->text.empty() || absl::EndsWith(content->text, "\n") || absl::StartsWith(text, "\n");
  absl::StrAppend(&content->text, own_line && !breaks ? "\n" : "", text);
}

absl::StatusOr<Content> ReadContent(const json& content, const std::string& param, const ServedModel& model,
                                    std::vector<std::string>* pictures) {
  Content read;
  if (content.is_string()) read.text = content.get<std::string>();
  if (content.is_null() || content.is_string()) {
    read.parts.push_back({{"type", "text"}, {"text", read.text}});
    return read;
  }
  if (!content.is_array()) return ParamError(param, "must be a string or a list of parts");
  bool after_picture = false;
  for (size_t i = 0; i < content.size(); ++i) {
    const json& part = content[i];
    const json type = part.is_object() ? part.value("type", json()) : json();
    const std::string part_param = absl::StrCat(param, "[", i, "]");
    if (type == "text" && part.contains("text") && part["text"].is_string()) {
      AddText(part["text"].get_ref<const std::string&>(), after_picture, &read);
      read.parts.push_back({{"type", "text"}, {"text", part["text"]}});
      after_picture = false;
    } else if (type == "image_url") {
      MG_ASSIGN_OR_RETURN(std::string bytes, PictureOf(part, part_param, model));
      if (pictures->size() == kPicturesMax)
        return ParamError("messages", absl::StrCat("have more than ", kPicturesMax, " pictures"));
      pictures->push_back(std::move(bytes));
      AddText(kImageMark, /*own_line=*/true, &read);
      read.parts.push_back({{"type", "image"}});
      after_picture = true;
    } else {
      return ParamError(part_param,
                        R"(is neither {"type": "text", "text": ...} nor {"type": "image_url", "image_url": {"url": ...}})");
    }
  }
  return read;
}

size_t Marks(absl::string_view text) {
  size_t marks = 0;
  for (size_t at = 0; (at = text.find(kImageMark, at)) != text.npos; at += kImageMark.size()) ++marks;
  return marks;
}

}  // namespace

absl::StatusOr<ChatPrompt> RenderMessages(JsonFields& fields, const ServedModel& model) {
  const json* messages = fields.Take("messages");
  if (messages == nullptr || !messages->is_array() || messages->empty()) {
    return ParamError("messages", "must be a list of at least one message");
  }
  ChatPrompt prompt;
  json with_texts = json::array(), with_parts = json::array();
  for (size_t i = 0; i < messages->size(); ++i) {
    const json& message = (*messages)[i];
    const std::string param = absl::StrCat("messages[", i, "]");
    if (!message.is_object() || !message.contains("role") || !message["role"].is_string()) {
      return ParamError(param, "must be an object with a role");
    }
    json copy = message;
    MG_ASSIGN_OR_RETURN(Content content, ReadContent(message.value("content", json()), absl::StrCat(param, ".content"),
                                                     model, &prompt.pictures));
    copy["content"] = std::move(content.text);
    with_texts.push_back(copy);
    copy["content"] = std::move(content.parts);
    with_parts.push_back(std::move(copy));
  }
  std::string extra = "{}";
  if (const json* kwargs = fields.Take("chat_template_kwargs"); kwargs != nullptr) {
    if (!kwargs->is_object()) return ParamError("chat_template_kwargs", "must be an object");
    extra = Dump(*kwargs);
  }
  if (!model.chat_template.ok()) {
    return ParamError(
        "messages", absl::StrCat("need a chat template: ", model.chat_template.status().message(), "; use /v1/completions"));
  }
  absl::StatusOr<std::string> text = model.chat_template->Render(Dump(with_texts), /*add_generation_prompt=*/true, extra);
  if (!prompt.pictures.empty() && (!text.ok() || Marks(*text) < prompt.pictures.size())) {
    // A template for parts drops or refuses plain text.
    text = model.chat_template->Render(Dump(with_parts), /*add_generation_prompt=*/true, extra);
  }
  if (!text.ok()) return ParamError("messages", text.status().message());
  prompt.text = *std::move(text);
  return prompt;
}

}  // namespace merganser
