#include "worker/serve/token_texts.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace merganser {
namespace {

constexpr absl::string_view kReplacementCharacter = "\xEF\xBF\xBD";

}  // namespace

size_t CountCharacters(absl::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
}

TokenTexts::TokenTexts(const Tokenizer* tokenizer) : tokenizer_(tokenizer) {
  absl::StatusOr<std::vector<int32_t>> anchor = tokenizer->Encode("a", /*add_special_tokens=*/false);
  if (anchor.ok()) anchor_ = *std::move(anchor);
}

TokenTexts::Text TokenTexts::Make(int32_t token) const {
  // A decoder drops the space before the first word of what it is given, so the token is decoded behind another.
  const auto added = [&](bool skip_special_tokens) {
    std::vector<int32_t> tokens = anchor_;
    const std::string before = tokenizer_->Decode(tokens, skip_special_tokens).value_or("");
    tokens.push_back(token);
    const std::string all = tokenizer_->Decode(tokens, skip_special_tokens).value_or("");
    return absl::StartsWith(all, before) ? all.substr(before.size()) : std::string(kReplacementCharacter);
  };
  Text text{added(/*skip_special_tokens=*/false), CountCharacters(added(/*skip_special_tokens=*/true))};
  if (text.shown.empty() || absl::StrContains(text.shown, kReplacementCharacter))
    text.shown = absl::StrCat("token_id:", token);
  return text;
}

TokenTexts::Text TokenTexts::Of(int32_t token) {
  {
    absl::MutexLock lock(&mutex_);
    const auto it = known_.find(token);
    if (it != known_.end()) return it->second;
  }
  Text text = Make(token);
  absl::MutexLock lock(&mutex_);
  return known_.emplace(token, std::move(text)).first->second;
}

}  // namespace merganser
