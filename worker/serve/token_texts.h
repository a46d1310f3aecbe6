// How single tokens are shown: the names of log-probabilities.
#ifndef MERGANSER_WORKER_SERVE_TOKEN_TEXTS_H_
#define MERGANSER_WORKER_SERVE_TOKEN_TEXTS_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_map>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "worker/text/tokenizer.h"

namespace merganser {

// Thread-safe.
class TokenTexts {
 public:
  // The tokenizer outlives this.
  explicit TokenTexts(const Tokenizer* tokenizer);

  struct Text {
    // What the token adds to a text that it does not begin, special tokens as they are spelt ("</s>"). A token that is part
    // of a character, or has no text, is "token_id:N", so that no two such tokens look alike.
    std::string shown;
    size_t characters = 0;  // that it adds to a text without special tokens
  };
  Text Of(int32_t token);

 private:
  Text Make(int32_t token) const;

  const Tokenizer* const tokenizer_;
  std::vector<int32_t> anchor_;  // tokens of a text that another token can follow
  absl::Mutex mutex_;
  std::unordered_map<int32_t, Text> known_ ABSL_GUARDED_BY(mutex_);
};

// Unicode characters of a UTF-8 text.
size_t CountCharacters(absl::string_view text);

}  // namespace merganser

#endif  // MERGANSER_WORKER_SERVE_TOKEN_TEXTS_H_
