#include "worker/checkpoint/tokenizer_vocabulary.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "worker/checkpoint/json_object.h"
#include "worker/checkpoint/tensor_view.h"

namespace merganser {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kFileBytesMax = int64_t{512} << 20;
constexpr int64_t kIdMax = 1 << 30;

std::string Dump(const Json& json) { return json.dump(2, ' ', false, Json::error_handler_t::replace); }

class Reader {
 public:
  Reader(const std::string& path, TokenizerVocabulary& out) : path_(path), out_(out) {}

  absl::Status Read(const Json& json) {
    const auto model = json.find("model");
    if (model == json.end() || !model->is_object() || !model->contains("vocab"))
      return Bad("has no model.vocab: not a tokenizer");
    const Json& vocab = (*model)["vocab"];
    if (vocab.is_object()) {
      for (const auto& [token, id] : vocab.items()) MG_RETURN_IF_ERROR(Add(token, id));
    } else if (vocab.is_array()) {  // Unigram: [token, score] by id
      for (size_t id = 0; id < vocab.size(); ++id) {
        if (!vocab[id].is_array() || vocab[id].empty() || !vocab[id][0].is_string())
          return Bad(absl::StrCat("entry ", id, " of model.vocab is no [token, score]"));
        MG_RETURN_IF_ERROR(Add(vocab[id][0].get<std::string>(), Json(id)));
      }
    } else {
      return Bad("has a model.vocab that is neither a map nor a list");
    }
    const auto added = json.find("added_tokens");
    if (added == json.end() || added->is_null()) return absl::OkStatus();
    if (!added->is_array()) return Bad("has added_tokens that are no list");
    for (const Json& entry : *added) {
      if (!entry.is_object() || !entry.contains("content") || !entry["content"].is_string() || !entry.contains("id")) {
        return Bad("has an added token without content or id");
      }
      const std::string token = entry["content"].get<std::string>();
      MG_RETURN_IF_ERROR(Add(token, entry["id"]));
      out_.added[token] = Dump(entry);
    }
    return absl::OkStatus();
  }

 private:
  absl::Status Bad(absl::string_view what) const { return absl::InvalidArgumentError(absl::StrCat("'", path_, "' ", what)); }

  absl::Status Add(const std::string& token, const Json& value) {
    if (!value.is_number_integer()) return Bad(absl::StrCat("gives token '", Printable(token), "' no whole number as id"));
    const int64_t id = value.get<int64_t>();
    if (id < 0 || id > kIdMax)
      return Bad(absl::StrCat("gives token '", Printable(token), "' the id ", id, ", not in [0, ", kIdMax, "]"));
    const auto [known, is_new] = out_.ids.emplace(token, static_cast<int>(id));
    if (!is_new && known->second != id) {
      return Bad(absl::StrCat("gives token '", Printable(token), "' the ids ", known->second, " and ", id));
    }
    if (static_cast<size_t>(id) >= out_.tokens.size()) out_.tokens.resize(id + 1);
    std::string& slot = out_.tokens[id];
    if (!slot.empty() && slot != token) {
      return Bad(absl::StrCat("gives the id ", id, " to '", Printable(slot), "' and to '", Printable(token), "'"));
    }
    slot = token;
    return absl::OkStatus();
  }

  const std::string& path_;
  TokenizerVocabulary& out_;
};

absl::StatusOr<Json> ReadJson(const std::string& path) {
  MG_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kFileBytesMax));
  return ParseJsonObject(text, path);
}

}  // namespace

absl::StatusOr<TokenizerVocabulary> TokenizerVocabulary::Read(const std::string& dir) {
  const std::string path = dir + "/tokenizer.json";
  TokenizerVocabulary vocabulary;
  absl::StatusOr<std::string> text = ReadFile(path, kFileBytesMax);
  if (absl::IsNotFound(text.status())) {
    return absl::NotFoundError(absl::StrCat("'", dir,
                                            "' has no tokenizer.json; make one: python -c \"from transformers import "
                                            "AutoTokenizer as T; T.from_pretrained('",
                                            dir, "').save_pretrained('", dir, "')\""));
  }
  MG_RETURN_IF_ERROR(text.status());
  MG_ASSIGN_OR_RETURN(const Json json, ParseJsonObject(*text, path));
  MG_RETURN_IF_ERROR(Reader(path, vocabulary).Read(json));
  vocabulary.json = *std::move(text);
  return vocabulary;
}

absl::StatusOr<std::string> TokenizerJsonWith(const TokenizerVocabulary& vocabulary, const std::vector<std::string>& names,
                                              const std::vector<std::string>& entries) {
  if (names.empty()) return vocabulary.json;
  MG_ASSIGN_OR_RETURN(Json json, ParseJsonObject(vocabulary.json, "tokenizer.json"));
  if (!json.contains("added_tokens") || !json["added_tokens"].is_array()) json["added_tokens"] = Json::array();
  for (size_t i = 0; i < names.size(); ++i) {
    Json entry = {{"id", 0},         {"content", names[i]}, {"single_word", false}, {"lstrip", false},
                  {"rstrip", false}, {"normalized", false}, {"special", false}};
    if (!entries[i].empty()) {
      MG_ASSIGN_OR_RETURN(entry, ParseJsonObject(entries[i], "added_tokens"));
    }
    entry["id"] = vocabulary.tokens.size() + i;
    json["added_tokens"].push_back(std::move(entry));
  }
  return Dump(json);
}

absl::StatusOr<std::string> ReadChatTemplate(const std::string& dir) {
  absl::StatusOr<std::string> text = ReadFile(dir + "/chat_template.jinja", kFileBytesMax);
  if (text.ok() || !absl::IsNotFound(text.status())) return text;
  absl::StatusOr<Json> config = ReadJson(dir + "/tokenizer_config.json");
  if (absl::IsNotFound(config.status())) return "";
  MG_RETURN_IF_ERROR(config.status());
  const auto field = config->find("chat_template");
  return field != config->end() && field->is_string() ? field->get<std::string>() : "";
}

absl::StatusOr<std::string> TokenizerConfigWithTemplate(const std::string& dir, const std::string& chat_template) {
  absl::StatusOr<Json> config = ReadJson(dir + "/tokenizer_config.json");
  if (absl::IsNotFound(config.status())) return "";
  MG_RETURN_IF_ERROR(config.status());
  (*config)["chat_template"] = chat_template;
  return absl::StrCat(Dump(*config), "\n");
}

}  // namespace merganser
