// The tokens of many texts, which are tokenized together: on several threads, and each text once.
#ifndef MERGANSER_WORKER_TEXT_TOKENIZED_TEXTS_H_
#define MERGANSER_WORKER_TEXT_TOKENIZED_TEXTS_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "worker/text/tokenizer.h"

namespace merganser {

// Add every text that will be asked for, Tokenize, then ask. One thread at a time.
class TokenizedTexts {
 public:
  // Tokenizing takes some fifty times the memory of the texts, so that many are done in several batches.
  static constexpr size_t kBatchBytes = size_t{2} << 20;

  explicit TokenizedTexts(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}

  void Add(absl::string_view text, bool add_special_tokens);
  // Whether what was added since the last Tokenize is a batch.
  bool full() const { return bytes_ >= kBatchBytes; }
  // The number of different texts that are known.
  size_t size() const { return tokens_[0].size() + tokens_[1].size(); }

  // Tokenizes what was added since the last call, and forgets what was tokenized before. What cannot be tokenized is an
  // error when it is asked for.
  void Tokenize();
  // As Tokenizer::Encode; of a text that was not added too.
  absl::StatusOr<std::vector<int32_t>> Encode(absl::string_view text, bool add_special_tokens) const;

 private:
  using Tokens = std::map<std::string, std::vector<int32_t>, std::less<>>;

  const Tokenizer& tokenizer_;
  std::vector<std::string> added_[2];  // by add_special_tokens; in tokens_ at Tokenize
  Tokens tokens_[2];
  size_t bytes_ = 0;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_TEXT_TOKENIZED_TEXTS_H_
