#include "worker/text/tokenizer_config.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"

namespace merganser {
namespace {

using Json = nlohmann::ordered_json;

// tokenizer_config.json with thousands of added tokens is about 1 MB.
constexpr int64_t kConfigBytesMax = int64_t{64} << 20;

constexpr const char* kSpecialTokens[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                          "pad_token", "cls_token", "mask_token"};

// nullopt if there is no such file.
absl::StatusOr<std::optional<std::string>> ReadIfPresent(const std::string& path) {
  absl::StatusOr<std::string> bytes = ReadFile(path, kConfigBytesMax);
  if (absl::IsNotFound(bytes.status())) return std::optional<std::string>();
  MG_RETURN_IF_ERROR(bytes.status());
  return std::optional<std::string>(*std::move(bytes));
}

// An empty object if there is no such file.
absl::StatusOr<Json> ReadObject(const std::string& path) {
  MG_ASSIGN_OR_RETURN(std::optional<std::string> bytes, ReadIfPresent(path));
  if (!bytes.has_value()) return Json::object();
  try {
    Json json = Json::parse(*bytes);
    if (!json.is_object())
      return absl::InvalidArgumentError(absl::StrCat(path, ": not a JSON object"));
    return json;
  } catch (const nlohmann::json::exception& e) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", e.what()));
  }
}

absl::StatusOr<bool> BoolField(const Json& json, const char* field, const std::string& path) {
  auto it = json.find(field);
  if (it == json.end() || it->is_null()) return false;
  if (!it->is_boolean())
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", field, " is not true or false"));
  return it->get<bool>();
}

// "" if there is none, or it is no text.
std::string TextField(const Json& json, const char* field) {
  const auto it = json.find(field);
  return it != json.end() && it->is_string() ? it->get<std::string>() : "";
}

// A special token is spelt "<s>" or {"content": "<s>", ...}.
absl::Status ReadSpecialTokens(const Json& json, const std::string& path, TokenizerConfig* config) {
  for (const char* field : kSpecialTokens) {
    auto it = json.find(field);
    if (it == json.end() || it->is_null()) continue;
    const Json& value = it->is_object() && it->contains("content") ? (*it)["content"] : *it;
    if (!value.is_string()) {
      return absl::InvalidArgumentError(absl::StrCat(
          path, ": ", field, " is neither a string nor an object with the string 'content'"));
    }
    const bool is_new = config->special_tokens.emplace(field, value.get<std::string>()).second;
    if (is_new && it->is_object()) config->special_token_objects[field] = it->dump();
  }
  return absl::OkStatus();
}

absl::Status ReadChatTemplates(const Json& json, const std::string& path,
                               std::map<std::string, std::string>* out) {
  auto it = json.find("chat_template");
  if (it == json.end() || it->is_null()) return absl::OkStatus();
  if (it->is_string()) {
    out->emplace("default", it->get<std::string>());
    return absl::OkStatus();
  }
  const absl::Status bad = absl::InvalidArgumentError(
      absl::StrCat(path, ": chat_template is neither a string nor a list of {name, template}"));
  if (!it->is_array()) return bad;
  for (const Json& item : *it) {
    if (!item.is_object()) return bad;
    auto name = item.find("name");
    auto source = item.find("template");
    if (name == item.end() || source == item.end() || !name->is_string() || !source->is_string())
      return bad;
    (*out)[name->get<std::string>()] = source->get<std::string>();
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TokenizerConfig> TokenizerConfig::Load(const std::string& checkpoint_dir) {
  TokenizerConfig config;
  const std::string path = absl::StrCat(checkpoint_dir, "/tokenizer_config.json");
  MG_ASSIGN_OR_RETURN(Json json, ReadObject(path));
  MG_ASSIGN_OR_RETURN(config.add_bos_token, BoolField(json, "add_bos_token", path));
  MG_ASSIGN_OR_RETURN(config.add_eos_token, BoolField(json, "add_eos_token", path));
  MG_RETURN_IF_ERROR(ReadSpecialTokens(json, path, &config));
  if (json.contains("legacy")) {
    MG_ASSIGN_OR_RETURN(config.legacy, BoolField(json, "legacy", path));
  }
  if (json.contains("add_prefix_space") && !json["add_prefix_space"].is_null()) {
    MG_ASSIGN_OR_RETURN(config.add_prefix_space, BoolField(json, "add_prefix_space", path));
  }
  config.tokenizer_class = TextField(json, "tokenizer_class");
  if (auto it = json.find("added_tokens_decoder"); it != json.end() && !it->is_null()) {
    config.added_tokens_decoder = it->dump();
  }

  const std::string map_path = absl::StrCat(checkpoint_dir, "/special_tokens_map.json");
  MG_ASSIGN_OR_RETURN(Json map, ReadObject(map_path));
  MG_RETURN_IF_ERROR(ReadSpecialTokens(map, map_path, &config));
  MG_ASSIGN_OR_RETURN(const Json model, ReadObject(absl::StrCat(checkpoint_dir, "/config.json")));
  config.model_type = TextField(model, "model_type");
  if (config.tokenizer_class.empty()) config.tokenizer_class = TextField(model, "tokenizer_class");

  MG_ASSIGN_OR_RETURN(std::optional<std::string> source,
                      ReadIfPresent(absl::StrCat(checkpoint_dir, "/chat_template.jinja")));
  if (source.has_value()) {
    config.chat_templates["default"] = *std::move(source);
    return config;
  }
  const std::string processor_path = absl::StrCat(checkpoint_dir, "/chat_template.json");
  MG_ASSIGN_OR_RETURN(Json processor, ReadObject(processor_path));
  MG_RETURN_IF_ERROR(ReadChatTemplates(processor, processor_path, &config.chat_templates));
  if (config.chat_templates.empty()) {
    MG_RETURN_IF_ERROR(ReadChatTemplates(json, path, &config.chat_templates));
  }
  return config;
}

}  // namespace merganser
