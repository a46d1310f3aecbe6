// A checkpoint's tokenizer: text to token ids and back, exactly as Hugging Face's fast tokenizers
// do it (it is their library behind a C ABI).
//
// Threading: immutable after Load; every const method may run on any number of threads at once.
#ifndef MERGANSER_WORKER_TEXT_TOKENIZER_H_
#define MERGANSER_WORKER_TEXT_TOKENIZER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

struct MgTextTokenizer;

namespace merganser {

class Tokenizer {
 public:
  // One text may have this many bytes: far above any context window, far below what would exhaust
  // the memory.
  static constexpr int64_t kTextBytesMax = int64_t{64} << 20;

  // Reads tokenizer.json and tokenizer_config.json of `checkpoint_dir`; where there is only SentencePiece's tokenizer.model
  // (or spiece.model), what transformers makes of it (sentencepiece_tokenizer.h). Truncation and padding stored in
  // tokenizer.json are ignored. Tokens that only tokenizer_config.json declares join the vocabulary. Where its add_bos_token
  // or add_eos_token is true and tokenizer.json's post-processor does not add that token, it is added; a false does not
  // remove what the post-processor adds (the rule of transformers since version 5).
  //   NotFound            no such directory, or no tokenizer files in it
  //   FailedPrecondition  only vocab.json or tekken.json, or SentencePiece's model of a class that is converted in a way of
  //                       its own; the message has the command that converts it
  //   InvalidArgument     a broken file; the message names it
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Load(const std::string& checkpoint_dir);

  ~Tokenizer();
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  // The ids of `text`; special tokens spelt out in it become their ids. `add_special_tokens` puts
  // BOS (EOS …) around it as the checkpoint asks; pass false for a rendered chat template, which
  // spells its BOS. InvalidArgument: not UTF-8 (names the byte), larger than kTextBytesMax.
  absl::StatusOr<std::vector<int32_t>> Encode(absl::string_view text, bool add_special_tokens) const;

  // Encode of each text, in order, on several threads. An error names the text's index.
  absl::StatusOr<std::vector<std::vector<int32_t>>> EncodeBatch(absl::Span<const std::string> texts,
                                                                bool add_special_tokens) const;

  // The text of `ids`; ids that no token has (padded vocabularies) give no text. Bytes that are not
  // UTF-8 give U+FFFD. InvalidArgument: a negative id. For token-by-token output use DecodeStream.
  absl::StatusOr<std::string> Decode(absl::Span<const int32_t> ids, bool skip_special_tokens) const;

  // Number of tokens, added ones included. A checkpoint's embedding may have more rows.
  int vocab_size() const { return vocab_size_; }

  // The id of the token spelt exactly so, in the vocabulary's own spelling ("▁the", "<s>").
  std::optional<int32_t> TokenId(absl::string_view token) const;

  // The ids of bos_token and eos_token of the configuration; nullopt if unset or not in the
  // vocabulary.
  std::optional<int32_t> bos_id() const { return bos_id_; }
  std::optional<int32_t> eos_id() const { return eos_id_; }

  // SHA-256 of tokenizer.json (or of what stands for it): equal for checkpoints that share it byte for byte. Re-saving may
  // change it without changing any encoding, so a difference is a reason to look, not a proof.
  const std::string& Fingerprint() const { return fingerprint_; }

 private:
  Tokenizer(MgTextTokenizer* handle, std::string fingerprint);

  // Sets what Encode adds beyond the post-processor.
  absl::Status ResolveSpecialTokens(bool add_bos, bool add_eos);

  // Constant after Load.
  MgTextTokenizer* const handle_;  // owned
  const std::string fingerprint_;
  const int vocab_size_;
  std::optional<int32_t> bos_id_;
  std::optional<int32_t> eos_id_;
  bool prepend_bos_ = false;
  bool append_eos_ = false;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_TEXT_TOKENIZER_H_
