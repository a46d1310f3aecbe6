#include "worker/text/sentencepiece_tokenizer.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "worker/text/sentencepiece_model.h"

namespace merganser {
namespace {

using Json = nlohmann::json;
using Piece = SentencePieceModel::Piece;
using PieceType = SentencePieceModel::Type;

constexpr char kSpace[] = "\xE2\x96\x81";  // U+2581

// Model types for which transformers 5.24 takes its general class whatever tokenizer_config.json says
// (TOKENIZER_MAPPING_NAMES), as far as they come with SentencePiece models.
bool TakesGeneralClass(const std::string& model_type) {
  static const auto* const types = new std::set<std::string>{
      "granite",  "internlm2", "internlm3", "llava",  "llava_next", "ministral", "ministral3", "mistral",
      "mistral3", "mixtral",   "phi3",      "phimoe", "stablelm",   "umt5",      "vipllava"};
  return types->count(model_type) > 0;
}

// transformers' T5Tokenizer takes it from no file.
constexpr int32_t kT5UnknownId = 2;

enum class Style { kLlama, kGemma, kT5, kGeneral };

absl::StatusOr<Style> StyleOf(const TokenizerConfig& config) {
  const std::string name(absl::StripSuffix(config.tokenizer_class, "Fast"));
  if (TakesGeneralClass(config.model_type)) return Style::kGeneral;
  if (name == "LlamaTokenizer") return Style::kLlama;
  if (name == "GemmaTokenizer" || (name.empty() && absl::StartsWith(config.model_type, "gemma"))) return Style::kGemma;
  if (name == "T5Tokenizer") return Style::kT5;
  if (name.empty() || name == "PreTrainedTokenizer" || name == "TokenizersBackend") return Style::kGeneral;
  return absl::FailedPreconditionError(absl::StrCat(
      "tokenizer_class ", config.tokenizer_class,
      ": of directories that hold only SentencePiece's model, "
      "LlamaTokenizer, GemmaTokenizer, T5Tokenizer and general ones (no class, PreTrainedTokenizerFast) are read"));
}

// Where the characters of `text` begin, the first left out.
std::vector<size_t> CutsOf(const std::string& text) {
  std::vector<size_t> cuts;
  for (size_t i = 1; i < text.size(); ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xc0) != 0x80) cuts.push_back(i);
  }
  return cuts;
}

using Merges = std::vector<std::pair<std::string, std::string>>;

// transformers' generate_merges without scores: every way to make a piece of two, in the pieces' order.
Merges MergesByPlace(const std::vector<Piece>& pieces, const std::unordered_map<std::string, int>& ids) {
  Merges merges;
  for (size_t id = 0; id < pieces.size(); ++id) {
    const std::string& text = pieces[id].text;
    if (ids.at(text) != static_cast<int>(id)) continue;  // spelt twice
    for (const size_t cut : CutsOf(text)) {
      std::string left = text.substr(0, cut), right = text.substr(cut);
      if (ids.count(left) > 0 && ids.count(right) > 0) merges.emplace_back(std::move(left), std::move(right));
    }
  }
  return merges;
}

// build_tokenizer_from_spm_proto's: only normal pieces, the likeliest first.
Merges MergesByScore(const std::vector<Piece>& pieces, const std::unordered_map<std::string, int>& ids) {
  std::vector<std::tuple<double, size_t, std::string, std::string>> ranked;
  const auto normal = [&](const std::string& text) {
    const auto it = ids.find(text);
    return it != ids.end() && pieces[it->second].type == PieceType::kNormal;
  };
  for (size_t id = 0; id < pieces.size(); ++id) {
    const std::string& text = pieces[id].text;
    if (pieces[id].type != PieceType::kNormal || ids.at(text) != static_cast<int>(id)) continue;
    for (const size_t cut : CutsOf(text)) {
      std::string left = text.substr(0, cut), right = text.substr(cut);
      if (normal(left) && normal(right)) ranked.emplace_back(-pieces[id].score, id, std::move(left), std::move(right));
    }
  }
  std::sort(ranked.begin(), ranked.end());
  Merges merges;
  merges.reserve(ranked.size());
  for (auto& [score, id, left, right] : ranked) merges.emplace_back(std::move(left), std::move(right));
  return merges;
}

Json ReplaceText(const char* from, const char* to) {
  return {{"type", "Replace"}, {"pattern", {{"String", from}}}, {"content", to}};
}
Json ReplaceRegex(const char* from, const char* to) {
  return {{"type", "Replace"}, {"pattern", {{"Regex", from}}}, {"content", to}};
}
Json Metaspace(const char* scheme) {
  return {{"type", "Metaspace"}, {"replacement", kSpace}, {"prepend_scheme", scheme}, {"split", false}};
}
Json Fuse() { return {{"type", "Fuse"}}; }
Json ByteFallback() { return {{"type", "ByteFallback"}}; }
Json StripOneSpace() { return {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}}; }

// Python's re.escape.
std::string RegexEscaped(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    if (std::string("()[]{}?*+-|^$\\.&~# \t\n\r\v\f").find(c) != std::string::npos) escaped += '\\';
    escaped += c;
  }
  return escaped;
}

size_t CharactersOf(const std::string& text) { return CutsOf(text).size() + 1; }

// A token as tokenizer.json's added_tokens has it, without its id.
Json AddedToken(const std::string& content, bool special, bool normalized, const Json& flags = Json::object()) {
  const auto flag = [&](const char* name) {
    return flags.contains(name) && flags[name].is_boolean() && flags[name].get<bool>();
  };
  return {{"content", content},       {"single_word", flag("single_word")}, {"lstrip", flag("lstrip")},
          {"rstrip", flag("rstrip")}, {"normalized", normalized},           {"special", special}};
}

class Converter {
 public:
  Converter(SentencePieceModel model, TokenizerConfig* config, Style style)
      : model_(std::move(model)), config_(*config), style_(style) {}

  absl::StatusOr<std::string> Convert() {
    const bool legacy = config_.added_tokens_decoder == "{}";
    declared_ = Json::parse(legacy ? config_.legacy_added_tokens : config_.added_tokens_decoder, nullptr,
                            /*allow_exceptions=*/false);
    if (!declared_.is_object()) return absl::InvalidArgumentError("added_tokens_decoder is not an object");
    SetDefaults();
    if (style_ == Style::kGeneral && !model_.unigram) Rename();
    if (style_ == Style::kT5) MG_RETURN_IF_ERROR(AddSentinels());
    for (size_t i = 0; i < model_.pieces.size(); ++i) ids_[model_.pieces[i].text] = static_cast<int>(i);
    Json json = {{"version", "1.0"}, {"truncation", nullptr}, {"padding", nullptr}};
    MG_ASSIGN_OR_RETURN(json["added_tokens"], AddedTokens());
    if (style_ == Style::kGeneral) {
      General(&json);
    } else if (style_ == Style::kT5) {
      T5(&json);
    } else {
      OfClass(&json);
    }
    json["post_processor"] = nullptr;  // Tokenizer adds BOS and EOS itself
    json["model"] = Model();
    return json.dump();
  }

 private:
  void SetDefaults() {
    std::map<std::string, std::string> defaults = {{"bos_token", "<s>"}, {"eos_token", "</s>"}, {"unk_token", "<unk>"}};
    if (style_ == Style::kGemma) {
      defaults = {{"bos_token", "<bos>"},
                  {"eos_token", "<eos>"},
                  {"unk_token", "<unk>"},
                  {"pad_token", "<pad>"},
                  {"mask_token", "<mask>"}};
    } else if (style_ == Style::kT5) {
      defaults = {{"eos_token", "</s>"}, {"unk_token", "<unk>"}, {"pad_token", "<pad>"}};
      config_.add_bos_token = false;  // its own post-processor decides
      config_.add_eos_token = true;
    } else if (style_ == Style::kGeneral) {
      defaults = {{"unk_token", model_.unk_piece}};
      if (model_.bos_id >= 0) defaults["bos_token"] = model_.bos_piece;
      if (model_.eos_id >= 0) defaults["eos_token"] = model_.eos_piece;
    }
    config_.special_tokens.insert(defaults.begin(), defaults.end());
  }

  // T5's <extra_id_N>, behind the pieces.
  absl::Status AddSentinels() {
    const auto is_sentinel = [](const Piece& piece) {
      return (piece.type == PieceType::kControl || piece.type == PieceType::kUserDefined) &&
             absl::StrContains(piece.text, "<extra_id_");
    };
    const int64_t own = std::count_if(model_.pieces.begin(), model_.pieces.end(), is_sentinel);
    if (own > 0 && config_.extra_ids > 0 && own != config_.extra_ids) {
      return absl::InvalidArgumentError(absl::StrCat("extra_ids is ", config_.extra_ids, ", but ", own,
                                                     " of its pieces are <extra_id_N>; extra_ids must be 0 or as many"));
    }
    for (int64_t i = config_.extra_ids - 1; i >= 0; --i) {
      model_.pieces.push_back({absl::StrCat("<extra_id_", i, ">"), 0, PieceType::kNormal});
      if (own == 0) sentinels_.push_back(model_.pieces.back().text);
    }
    return absl::OkStatus();
  }

  // Pieces that are placeholders for what added_tokens_decoder calls by another name.
  void Rename() {
    std::map<size_t, std::string> names;
    for (const auto& [key, token] : declared_.items()) {
      const size_t id = std::strtoull(key.c_str(), nullptr, 10);
      if (id < model_.pieces.size() && token.is_object() && token.contains("content") && token["content"].is_string()) {
        names[id] = token["content"].get<std::string>();
      }
    }
    std::set<std::string> kept;
    for (size_t i = 0; i < model_.pieces.size(); ++i) {
      if (names.count(i) == 0) kept.insert(model_.pieces[i].text);
    }
    for (const auto& [id, name] : names) {
      if (kept.count(name) == 0) model_.pieces[id].text = name;
    }
  }

  absl::StatusOr<Json> AddedTokens() {
    std::map<uint64_t, Json> by_id;
    for (const auto& [key, token] : declared_.items()) {
      char* end = nullptr;
      const uint64_t id = std::strtoull(key.c_str(), &end, 10);
      if (key.empty() || *end != '\0')
        return absl::InvalidArgumentError(absl::StrCat("added_tokens_decoder: '", key, "' is not a token id"));
      if (!token.is_object() || !token.contains("content") || !token["content"].is_string()) {
        return absl::InvalidArgumentError(absl::StrCat("added_tokens_decoder: token ", key, " has no string 'content'"));
      }
      by_id[id] = token;
    }
    const auto flag = [](const Json& token, const char* name, bool otherwise) {
      return token.contains(name) && token[name].is_boolean() ? token[name].get<bool>() : otherwise;
    };
    for (const auto& [id, token] : by_id) {
      const bool special = flag(token, "special", false);
      const bool normalized = flag(token, "normalized", !special) && !(style_ == Style::kGeneral && model_.add_dummy_prefix);
      const std::string content = token["content"].get<std::string>();
      Put(content, AddedToken(content, special, normalized, token));
      if (PlaceOf(content) != id) {
        return absl::InvalidArgumentError(absl::StrCat("added token ", id, " '", content, "' would have the id ",
                                                       PlaceOf(content), " behind the ", model_.pieces.size(), " pieces"));
      }
    }
    for (const char* name : {"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"}) {
      const auto it = config_.special_tokens.find(name);
      if (it == config_.special_tokens.end() || it->second.empty()) continue;
      named_.insert(it->second);
      const auto object = config_.special_token_objects.find(name);
      if (object != config_.special_token_objects.end()) {
        const Json flags = Json::parse(object->second, nullptr, false);
        Put(it->second, AddedToken(it->second, true, flag(flags, "normalized", false), flags));
      } else if (tokens_.count(it->second) == 0) {
        Put(it->second, AddedToken(it->second, true, false));
      } else {
        tokens_[it->second]["special"] = true;
      }
    }
    PutAll(config_.named_special_tokens);
    if (config_.extra_special_tokens) {
      PutAll(*config_.extra_special_tokens);
    } else {
      PutPieces();
    }
    std::vector<std::pair<uint64_t, Json>> sorted;
    for (const auto& [content, token] : tokens_) {
      Json entry = token;
      entry["id"] = PlaceOf(content);
      sorted.emplace_back(PlaceOf(content), std::move(entry));
    }
    std::sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    Json list = Json::array();
    for (auto& [id, token] : sorted) list.push_back(std::move(token));
    return list;
  }

  void PutAll(const std::string& list) {
    for (const Json& token : Json::parse(list, nullptr, /*allow_exceptions=*/false)) {
      const Json& text = token.is_object() ? token["content"] : token;
      Put(text, AddedToken(text, true, false, token.is_object() ? token : Json::object()));
    }
  }
  void PutPieces() {
    for (const std::string& text : sentinels_) Put(text, AddedToken(text, true, false));
    for (const Piece& piece : model_.pieces) {
      const bool control = piece.type == PieceType::kControl;
      if (!control && (piece.type != PieceType::kUserDefined || style_ == Style::kGeneral)) continue;
      Put(piece.text, AddedToken(piece.text, control || named_.count(piece.text) > 0, false));
    }
  }
  void Put(const std::string& content, Json token) {
    if (ids_.count(content) == 0 && new_ids_.count(content) == 0) {
      const uint64_t id = model_.pieces.size() + new_ids_.size();
      new_ids_[content] = id;
    }
    tokens_[content] = std::move(token);
  }
  uint64_t PlaceOf(const std::string& content) const {
    const auto it = ids_.find(content);
    return it != ids_.end() ? static_cast<uint64_t>(it->second) : new_ids_.at(content);
  }

  void OfClass(Json* json) const {
    if (style_ == Style::kGemma) {
      (*json)["normalizer"] = ReplaceText(" ", kSpace);
      (*json)["pre_tokenizer"] = {
          {"type", "Split"}, {"pattern", {{"String", " "}}}, {"behavior", "MergedWithPrevious"}, {"invert", false}};
      (*json)["decoder"] = {{"type", "Sequence"},
                            {"decoders", Json::array({ReplaceText(kSpace, " "), ByteFallback(), Fuse()})}};
      return;
    }
    const bool prefix = config_.add_prefix_space.value_or(true);
    (*json)["normalizer"] = nullptr;
    (*json)["pre_tokenizer"] = Metaspace(!prefix ? "never" : config_.legacy.value_or(false) ? "always" : "first");
    Json decoders = Json::array({ReplaceText(kSpace, " "), ByteFallback(), Fuse()});
    if (prefix) decoders.push_back(StripOneSpace());
    (*json)["decoder"] = {{"type", "Sequence"}, {"decoders", std::move(decoders)}};
  }

  void T5(Json* json) const {
    (*json)["normalizer"] = model_.precompiled_charsmap.empty() ? Json(nullptr) : Precompiled();
    const Json words = {{"type", "Metaspace"}, {"replacement", kSpace}, {"prepend_scheme", "always"}, {"split", true}};
    (*json)["pre_tokenizer"] = {{"type", "Sequence"},
                                {"pretokenizers", Json::array({{{"type", "WhitespaceSplit"}}, words})}};
    (*json)["decoder"] = words;
  }

  Json Precompiled() const {
    return {{"type", "Precompiled"}, {"precompiled_charsmap", absl::Base64Escape(model_.precompiled_charsmap)}};
  }

  void General(Json* json) const {
    const bool legacy = config_.legacy.value_or(true);
    Json normalizers = Json::array();
    if (!model_.precompiled_charsmap.empty()) {
      normalizers.push_back(Precompiled());
    }
    if (model_.remove_extra_whitespaces) {
      normalizers.push_back(ReplaceRegex("\\A +| +\\z", ""));
      normalizers.push_back(ReplaceRegex(" {2,}", " "));
    }
    if (model_.escape_whitespaces) normalizers.push_back(ReplaceText(" ", kSpace));
    if (model_.add_dummy_prefix && legacy)
      normalizers.push_back(ReplaceRegex("\\A\xE2\x96\x81", "\xE2\x96\x81\xE2\x96\x81"));
    (*json)["normalizer"] = {{"type", "Sequence"}, {"normalizers", std::move(normalizers)}};

    Json splits = Json::array();
    if (model_.add_dummy_prefix) splits.push_back(Metaspace(legacy ? "always" : "first"));
    std::vector<std::string> whole = UserDefined();
    std::stable_sort(whole.begin(), whole.end(),
                     [](const auto& a, const auto& b) { return CharactersOf(a) > CharactersOf(b); });
    for (std::string& piece : whole) piece = RegexEscaped(piece);
    if (!whole.empty()) {
      splits.push_back({{"type", "Split"},
                        {"pattern", {{"Regex", absl::StrJoin(whole, "|")}}},
                        {"behavior", "Isolated"},
                        {"invert", false}});
    }
    (*json)["pre_tokenizer"] =
        splits.empty() ? Json(nullptr) : Json{{"type", "Sequence"}, {"pretokenizers", std::move(splits)}};

    Json decoders = Json::array({ReplaceText(kSpace, " ")});
    if (model_.byte_fallback) decoders.push_back(ByteFallback());
    if (model_.add_dummy_prefix || model_.byte_fallback) decoders.push_back(Fuse());
    if (model_.add_dummy_prefix) decoders.push_back(StripOneSpace());
    (*json)["decoder"] = {{"type", "Sequence"}, {"decoders", std::move(decoders)}};
  }

  std::vector<std::string> UserDefined() const {
    std::vector<std::string> texts;
    for (const Piece& piece : model_.pieces) {
      if (piece.type == PieceType::kUserDefined) texts.push_back(piece.text);
    }
    return texts;
  }

  Json Model() const {
    const bool t5 = style_ == Style::kT5;
    if (t5 || (model_.unigram && style_ == Style::kGeneral)) {
      Json vocab = Json::array();
      for (const Piece& piece : model_.pieces) vocab.push_back(Json::array({piece.text, piece.score}));
      return {{"type", "Unigram"},
              {"unk_id", t5 ? kT5UnknownId : model_.unk_id},
              {"vocab", std::move(vocab)},
              {"byte_fallback", !t5 && model_.byte_fallback}};
    }
    Json vocab = Json::object();
    for (const Piece& piece : model_.pieces) vocab[piece.text] = ids_.at(piece.text);
    Json merges = Json::array();
    const bool general = style_ == Style::kGeneral;
    for (const auto& [left, right] : general ? MergesByScore(model_.pieces, ids_) : MergesByPlace(model_.pieces, ids_)) {
      merges.push_back(Json::array({left, right}));
    }
    Json unk = nullptr;
    if (general) unk = model_.unk_piece;
    if (style_ == Style::kGemma) unk = config_.special_tokens.at("unk_token");
    return {{"type", "BPE"},
            {"dropout", nullptr},
            {"unk_token", std::move(unk)},
            {"continuing_subword_prefix", nullptr},
            {"end_of_word_suffix", nullptr},
            {"fuse_unk", true},
            {"byte_fallback", general ? model_.byte_fallback : true},
            {"ignore_merges", general && !UserDefined().empty()},
            {"vocab", std::move(vocab)},
            {"merges", std::move(merges)}};
  }

  SentencePieceModel model_;
  TokenizerConfig& config_;
  const Style style_;
  Json declared_;
  std::unordered_map<std::string, int> ids_;
  std::map<std::string, uint64_t> new_ids_;
  std::map<std::string, Json> tokens_;
  std::set<std::string> named_;
  std::vector<std::string> sentinels_;
};

}  // namespace

absl::StatusOr<std::string> TokenizerJsonOfSentencePiece(absl::string_view model, TokenizerConfig* config) {
  MG_ASSIGN_OR_RETURN(const Style style, StyleOf(*config));
  MG_ASSIGN_OR_RETURN(SentencePieceModel parsed, SentencePieceModel::Parse(model));
  if (style == Style::kLlama && parsed.unigram) {
    MG_LOG(WARNING) << "unigram model read as merges, which is not what it was trained for: tokenizer_class="
                    << config->tokenizer_class << " does so in transformers 5, too; without a tokenizer_class it is encoded"
                    << " as SentencePiece does";
  }
  return Converter(std::move(parsed), config, style).Convert();
}

}  // namespace merganser
