// Text of a completion as its tokens come, cut at the first stop string.
#ifndef MERGANSER_WORKER_SERVE_STOP_TEXT_H_
#define MERGANSER_WORKER_SERVE_STOP_TEXT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/text/decode_stream.h"

namespace merganser {

// Thread-compatible. What may be the beginning of a stop string, or of a character, is held back.
class StopText {
 public:
  // The tokenizer outlives this.
  StopText(const Tokenizer* tokenizer, std::vector<std::string> stops);

  // The text that can be handed out now; nothing after a stop string.
  absl::StatusOr<std::string> Append(int32_t token);
  // The rest, at the end.
  absl::StatusOr<std::string> Finish();
  // A stop string came.
  bool stopped() const { return stopped_; }

 private:
  std::string Release(bool all);

  DecodeStream stream_;
  const std::vector<std::string> stops_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_SERVE_STOP_TEXT_H_
