#include "worker/text/tokenizer_config.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"

namespace merganser {
namespace {

using Json = nlohmann::ordered_json;

// tokenizer_config.json with thousands of added tokens is about 1 MB.
constexpr int64_t kConfigBytesMax = int64_t{64} << 20;

constexpr int64_t kExtraIdsMax = 100'000;

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
    if (!json.is_object()) return absl::InvalidArgumentError(absl::StrCat(path, ": not a JSON object"));
    return json;
  } catch (const nlohmann::json::exception& e) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", e.what()));
  }
}

absl::StatusOr<bool> BoolField(const Json& json, const char* field, const std::string& path) {
  auto it = json.find(field);
  if (it == json.end() || it->is_null()) return false;
  if (!it->is_boolean()) return absl::InvalidArgumentError(absl::StrCat(path, ": ", field, " is not true or false"));
  return it->get<bool>();
}

// "" if there is none, or it is no text.
std::string TextField(const Json& json, const char* field) {
  const auto it = json.find(field);
  return it != json.end() && it->is_string() ? it->get<std::string>() : "";
}

// The text of a special token, which is spelt "<s>" or {"content": "<s>", ...}; nullopt if `value` is neither.
std::optional<std::string> TokenText(const Json& value) {
  const Json& text = value.is_object() && value.contains("content") ? value["content"] : value;
  return text.is_string() ? std::optional<std::string>(text.get<std::string>()) : std::nullopt;
}

// Those that `json` has replace what is there.
absl::Status ReadSpecialTokens(const Json& json, const std::string& path, TokenizerConfig* config) {
  for (const char* field : kSpecialTokens) {
    auto it = json.find(field);
    if (it == json.end() || it->is_null()) continue;
    const std::optional<std::string> text = TokenText(*it);
    if (!text) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": ", field, " is neither a string nor an object with the string 'content'"));
    }
    config->special_tokens[field] = *text;
    config->special_token_objects.erase(field);
    if (it->is_object()) config->special_token_objects[field] = it->dump();
  }
  return absl::OkStatus();
}

// Appends the tokens of a list, or of an object by name, to `tokens`.
absl::Status AppendTokens(const Json& json, const char* field, const std::string& path, Json* tokens) {
  for (const Json& token : json[field]) {
    if (!TokenText(token)) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": ", field, " has ", token.dump(), ", which is no token"));
    }
    tokens->push_back(token);
  }
  return absl::OkStatus();
}

absl::Status ReadExtraTokens(const Json& json, const std::string& path, TokenizerConfig* config) {
  Json named = Json::array();
  for (const auto& [field, value] : json.items()) {
    const bool standard = std::find(std::begin(kSpecialTokens), std::end(kSpecialTokens), field) != std::end(kSpecialTokens);
    if (!standard && absl::EndsWith(field, "_token") && TokenText(value)) named.push_back(value);
  }
  const auto filled = [&](const char* field) { return json.contains(field) && !json[field].empty(); };
  const bool old = !filled("extra_special_tokens") && json.contains("additional_special_tokens");
  const char* const field = old ? "additional_special_tokens" : "extra_special_tokens";
  if (json.contains(field)) {
    const bool by_name = json[field].is_object();
    Json extra = Json::array();
    MG_RETURN_IF_ERROR(AppendTokens(json, field, path, by_name ? &named : &extra));
    if (!by_name) config->extra_special_tokens = extra.dump();
  }
  config->named_special_tokens = named.dump();
  return absl::OkStatus();
}

// {"<extra>": 32000} as added_tokens_decoder has it.
absl::StatusOr<Json> LegacyAddedTokens(const Json& added, const std::string& path, const std::set<std::string>& special) {
  Json decoder = Json::object();
  for (const auto& [text, id] : added.items()) {
    if (!id.is_number_unsigned()) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": the id of '", text, "' is ", id.dump()));
    }
    decoder[std::to_string(id.get<uint64_t>())] = {
        {"content", text}, {"normalized", special.count(text) == 0}, {"special", special.count(text) > 0}};
  }
  return decoder;
}

absl::Status ReadChatTemplates(const Json& json, const std::string& path, std::map<std::string, std::string>* out) {
  auto it = json.find("chat_template");
  if (it == json.end() || it->is_null()) return absl::OkStatus();
  if (it->is_string()) {
    out->emplace("default", it->get<std::string>());
    return absl::OkStatus();
  }
  const absl::Status bad =
      absl::InvalidArgumentError(absl::StrCat(path, ": chat_template is neither a string nor a list of {name, template}"));
  if (!it->is_array()) return bad;
  for (const Json& item : *it) {
    if (!item.is_object()) return bad;
    auto name = item.find("name");
    auto source = item.find("template");
    if (name == item.end() || source == item.end() || !name->is_string() || !source->is_string()) return bad;
    (*out)[name->get<std::string>()] = source->get<std::string>();
  }
  return absl::OkStatus();
}

// The files of directories from before added_tokens_decoder.
absl::Status ReadLegacyFiles(const std::string& dir, TokenizerConfig* config) {
  const std::string map_path = absl::StrCat(dir, "/special_tokens_map.json");
  MG_ASSIGN_OR_RETURN(const Json map, ReadObject(map_path));
  MG_RETURN_IF_ERROR(ReadSpecialTokens(map, map_path, config));
  Json extra = Json::parse(config->extra_special_tokens.value_or("[]"));
  if (map.contains("extra_special_tokens") && map["extra_special_tokens"].is_array()) {
    MG_RETURN_IF_ERROR(AppendTokens(map, "extra_special_tokens", map_path, &extra));
    config->extra_special_tokens = extra.dump();
  }
  std::set<std::string> special;
  for (const auto& [field, text] : config->special_tokens) special.insert(text);
  for (const Json& token : extra) special.insert(*TokenText(token));
  const std::string added_path = absl::StrCat(dir, "/added_tokens.json");
  MG_ASSIGN_OR_RETURN(const Json added, ReadObject(added_path));
  MG_ASSIGN_OR_RETURN(const Json decoder, LegacyAddedTokens(added, added_path, special));
  config->legacy_added_tokens = decoder.dump();
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
  if (auto it = json.find("extra_ids"); it != json.end() && !it->is_null()) {
    if (!it->is_number_integer() || *it < 0 || *it > kExtraIdsMax) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": extra_ids is ", it->dump(), ", not a number from 0 to ", kExtraIdsMax));
    }
    config.extra_ids = it->get<int64_t>();
  }
  config.tokenizer_class = TextField(json, "tokenizer_class");
  MG_RETURN_IF_ERROR(ReadExtraTokens(json, path, &config));
  if (auto it = json.find("added_tokens_decoder"); it != json.end() && !it->is_null()) {
    config.added_tokens_decoder = it->dump();
  } else {
    MG_RETURN_IF_ERROR(ReadLegacyFiles(checkpoint_dir, &config));
  }

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
