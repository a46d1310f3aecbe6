#include "worker/text/decode_stream.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "common/base/status_macros.h"

namespace merganser {
namespace {

constexpr absl::string_view kReplacementCharacter = "\xEF\xBF\xBD";

}  // namespace

absl::StatusOr<std::string> DecodeStream::NewText(absl::Span<const int32_t> window) const {
  MG_ASSIGN_OR_RETURN(std::string before, tokenizer_->Decode(window.subspan(0, settled_), skip_special_tokens_));
  MG_ASSIGN_OR_RETURN(std::string all, tokenizer_->Decode(window, skip_special_tokens_));
  if (absl::StartsWith(all, before)) return all.substr(before.size());
  // A byte run turned to garbage after part of it was handed out: decode what follows on its own.
  return tokenizer_->Decode(window.subspan(settled_), skip_special_tokens_);
}

void DecodeStream::Settle(size_t first_kept) {
  window_.erase(window_.begin(), window_.begin() + first_kept);
  settled_ = window_.size();
}

absl::StatusOr<std::string> DecodeStream::Append(absl::Span<const int32_t> ids) {
  std::vector<int32_t> window = window_;
  window.insert(window.end(), ids.begin(), ids.end());
  MG_ASSIGN_OR_RETURN(std::string text, NewText(window));
  window_ = std::move(window);
  if (text.empty() || absl::EndsWith(text, kReplacementCharacter)) return std::string();
  Settle(settled_);
  return text;
}

absl::StatusOr<std::string> DecodeStream::Finish() {
  MG_ASSIGN_OR_RETURN(std::string text, NewText(window_));
  Settle(settled_);
  return text;
}

}  // namespace merganser
