// Text of a growing sequence of token ids, piece by piece: what stop strings are looked for in, and
// what a streaming response sends.
//
// The pieces joined are Tokenizer::Decode of all ids. Text that may still change is held back:
// bytes that do not yet make a whole UTF-8 character (byte-fallback and byte-level tokens), with
// what came in the same call. One exception, in sequences that are not UTF-8 anyway: where whole
// decoding would turn characters already handed out into U+FFFD because of what follows (a run of
// byte-fallback tokens that ends in garbage), they stay handed out.
//
// Cost: two short Decode calls per token. Threading: one thread at a time. Copyable (a beam takes
// its parent's stream); the tokenizer must outlive it.
#ifndef MERGANSER_WORKER_TEXT_DECODE_STREAM_H_
#define MERGANSER_WORKER_TEXT_DECODE_STREAM_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "worker/text/tokenizer.h"

namespace merganser {

class DecodeStream {
 public:
  DecodeStream(const Tokenizer* tokenizer, bool skip_special_tokens)
      : tokenizer_(tokenizer), skip_special_tokens_(skip_special_tokens) {}

  // The text that `ids` complete; often empty. InvalidArgument: a negative id (the stream is as
  // before the call).
  absl::StatusOr<std::string> Append(absl::Span<const int32_t> ids);
  absl::StatusOr<std::string> Append(int32_t id) { return Append(absl::MakeConstSpan(&id, 1)); }

  // The rest, at the end of the sequence: incomplete bytes become U+FFFD.
  absl::StatusOr<std::string> Finish();

 private:
  // The text of window_ beyond its first `settled_` ids, whose own text was handed out before.
  absl::StatusOr<std::string> NewText(absl::Span<const int32_t> window) const;
  void Settle(size_t first_kept);

  const Tokenizer* tokenizer_;
  bool skip_special_tokens_;
  // The ids of the last piece handed out, then those held back. The former give the latter their
  // context (a decoder drops the space before the first word of what it is given).
  std::vector<int32_t> window_;
  size_t settled_ = 0;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_TEXT_DECODE_STREAM_H_
