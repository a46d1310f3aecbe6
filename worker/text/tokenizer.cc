#include "worker/text/tokenizer.h"

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/sha256.h"
#include "common/base/status_macros.h"
#include "worker/text/rust_abi.h"
#include "worker/text/rust_call.h"
#include "worker/text/sentencepiece_tokenizer.h"
#include "worker/text/tokenizer_config.h"

namespace merganser {
namespace {

using text_internal::CheckSize;
using text_internal::RustBuffer;
using text_internal::RustIds;
using text_internal::ToSlice;
using text_internal::ToStatus;

// The largest published tokenizer.json is 33 MB (Gemma 3).
constexpr int64_t kTokenizerBytesMax = int64_t{256} << 20;

// Vocabularies that transformers can turn into a tokenizer.json.
constexpr const char* kConvertible[] = {"vocab.json", "tekken.json"};

std::string HowToConvert(const std::string& dir) {
  return absl::StrCat(
      "convert it once with: python -c \"from transformers import AutoTokenizer; AutoTokenizer.from_pretrained('", dir,
      "', use_fast=True).save_pretrained('", dir, "')\"");
}

// Why there is no tokenizer.json in `dir`, and what to do about it.
absl::Status MissingTokenizer(const std::string& dir) {
  std::error_code error;
  if (!std::filesystem::is_directory(dir, error)) {
    return absl::NotFoundError(absl::StrCat("no directory '", dir, "'"));
  }
  for (const char* name : kConvertible) {
    if (!std::filesystem::exists(absl::StrCat(dir, "/", name), error)) continue;
    return absl::FailedPreconditionError(
        absl::StrCat("'", dir, "' has ", name, " but no tokenizer.json; ", HowToConvert(dir)));
  }
  return absl::NotFoundError(absl::StrCat("no tokenizer in '", dir, "': tokenizer.json is missing"));
}

// Where SentencePiece's model may be: the second is T5Tokenizer's own name for it.
constexpr const char* kSentencePieceFiles[] = {"tokenizer.model", "spiece.model"};

// What stands for tokenizer.json where there is only SentencePiece's model, whose path `*path` gets.
absl::StatusOr<std::string> FromSentencePiece(const std::string& dir, TokenizerConfig* config, std::string* path) {
  std::error_code error;
  const auto* const name =
      std::find_if(std::begin(kSentencePieceFiles), std::end(kSentencePieceFiles),
                   [&](const char* file) { return std::filesystem::exists(absl::StrCat(dir, "/", file), error); });
  if (name == std::end(kSentencePieceFiles)) return MissingTokenizer(dir);
  *path = absl::StrCat(dir, "/", *name);
  MG_ASSIGN_OR_RETURN(const std::string model, ReadFile(*path, kTokenizerBytesMax));
  absl::StatusOr<std::string> json = TokenizerJsonOfSentencePiece(model, config);
  config->added_tokens_decoder = "{}";  // is in it
  if (absl::IsFailedPrecondition(json.status())) {
    return absl::FailedPreconditionError(absl::StrCat(*path, ": ", json.status().message(), "; ", HowToConvert(dir)));
  }
  MG_RETURN_IF_ERROR(Annotate(json.status(), *path));
  return json;
}

}  // namespace

Tokenizer::Tokenizer(MgTextTokenizer* handle, std::string fingerprint)
    : handle_(handle),
      fingerprint_(std::move(fingerprint)),
      vocab_size_(static_cast<int>(mg_text_tokenizer_vocab_size(handle))) {}

Tokenizer::~Tokenizer() { mg_text_tokenizer_free(handle_); }

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Load(const std::string& checkpoint_dir) {
  std::string path = absl::StrCat(checkpoint_dir, "/tokenizer.json");
  absl::StatusOr<std::string> json = ReadFile(path, kTokenizerBytesMax);
  if (!absl::IsNotFound(json.status())) {
    MG_RETURN_IF_ERROR(json.status());
  }
  MG_ASSIGN_OR_RETURN(TokenizerConfig config, TokenizerConfig::Load(checkpoint_dir));
  if (!json.ok()) {
    MG_ASSIGN_OR_RETURN(json, FromSentencePiece(checkpoint_dir, &config, &path));
  }

  MgTextTokenizer* handle = nullptr;
  RustBuffer error;
  const int32_t code = mg_text_tokenizer_new(ToSlice(*json), ToSlice(config.added_tokens_decoder), &handle, error.out());
  MG_RETURN_IF_ERROR(Annotate(ToStatus(code, error), path));
  std::unique_ptr<Tokenizer> tokenizer(new Tokenizer(handle, Sha256Hex(*json)));
  if (auto it = config.special_tokens.find("bos_token"); it != config.special_tokens.end()) {
    tokenizer->bos_id_ = tokenizer->TokenId(it->second);
  }
  if (auto it = config.special_tokens.find("eos_token"); it != config.special_tokens.end()) {
    tokenizer->eos_id_ = tokenizer->TokenId(it->second);
  }
  MG_RETURN_IF_ERROR(Annotate(tokenizer->ResolveSpecialTokens(config.add_bos_token, config.add_eos_token), path));
  return tokenizer;
}

absl::Status Tokenizer::ResolveSpecialTokens(bool add_bos, bool add_eos) {
  // Any text shows what the post-processor adds: it never looks at the tokens in the middle.
  MG_ASSIGN_OR_RETURN(std::vector<int32_t> with, Encode("a", true));
  MG_ASSIGN_OR_RETURN(std::vector<int32_t> without, Encode("a", false));
  const bool adds = with.size() > without.size();
  prepend_bos_ = add_bos && bos_id_.has_value() && !(adds && with.front() == *bos_id_);
  append_eos_ = add_eos && eos_id_.has_value() && !(adds && with.back() == *eos_id_);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<int32_t>> Tokenizer::Encode(absl::string_view text, bool add_special_tokens) const {
  MG_RETURN_IF_ERROR(CheckSize("text", text, kTextBytesMax));
  RustIds ids;
  RustBuffer error;
  MG_RETURN_IF_ERROR(
      ToStatus(mg_text_tokenizer_encode(handle_, ToSlice(text), add_special_tokens, ids.out(), error.out()), error));
  std::vector<int32_t> out;
  out.reserve(ids.size() + 2);
  if (add_special_tokens && prepend_bos_) out.push_back(*bos_id_);
  out.insert(out.end(), ids.data(), ids.data() + ids.size());
  if (add_special_tokens && append_eos_) out.push_back(*eos_id_);
  return out;
}

absl::StatusOr<std::vector<std::vector<int32_t>>> Tokenizer::EncodeBatch(absl::Span<const std::string> texts,
                                                                         bool add_special_tokens) const {
  std::vector<MgTextSlice> slices;
  slices.reserve(texts.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    MG_RETURN_IF_ERROR(CheckSize(absl::StrCat("text ", i), texts[i], kTextBytesMax));
    slices.push_back(ToSlice(texts[i]));
  }
  std::vector<size_t> ends(texts.size());
  RustIds ids;
  RustBuffer error;
  MG_RETURN_IF_ERROR(ToStatus(mg_text_tokenizer_encode_batch(handle_, slices.data(), slices.size(), add_special_tokens,
                                                             ends.data(), ids.out(), error.out()),
                              error));
  std::vector<std::vector<int32_t>> out(texts.size());
  size_t begin = 0;
  for (size_t i = 0; i < out.size(); ++i) {
    if (add_special_tokens && prepend_bos_) out[i].push_back(*bos_id_);
    out[i].insert(out[i].end(), ids.data() + begin, ids.data() + ends[i]);
    if (add_special_tokens && append_eos_) out[i].push_back(*eos_id_);
    begin = ends[i];
  }
  return out;
}

absl::StatusOr<std::string> Tokenizer::Decode(absl::Span<const int32_t> ids, bool skip_special_tokens) const {
  std::vector<uint32_t> unsigned_ids;
  unsigned_ids.reserve(ids.size());
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0) {
      return absl::InvalidArgumentError(absl::StrCat("token id ", ids[i], " at position ", i, " is negative"));
    }
    unsigned_ids.push_back(static_cast<uint32_t>(ids[i]));
  }
  RustBuffer text;
  RustBuffer error;
  MG_RETURN_IF_ERROR(ToStatus(mg_text_tokenizer_decode(handle_, unsigned_ids.data(), unsigned_ids.size(),
                                                       skip_special_tokens, text.out(), error.out()),
                              error));
  return std::string(text.view());
}

std::optional<int32_t> Tokenizer::TokenId(absl::string_view token) const {
  const int64_t id = mg_text_tokenizer_token_id(handle_, ToSlice(token));
  if (id < 0) return std::nullopt;
  return static_cast<int32_t>(id);
}

}  // namespace merganser
