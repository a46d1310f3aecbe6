#include "worker/text/tokenized_texts.h"

#include <algorithm>
#include <utility>

namespace merganser {

void TokenizedTexts::Add(absl::string_view text, bool add_special_tokens) {
  std::vector<std::string>& added = added_[add_special_tokens];
  // Of a sample's choices, completions of one prompt: they follow each other.
  if (!added.empty() && added.back() == text) return;
  added.emplace_back(text);
  bytes_ += text.size();
}

void TokenizedTexts::Tokenize() {
  for (const bool special : {false, true}) {
    std::vector<std::string> texts = std::exchange(added_[special], {});
    tokens_[special].clear();
    std::sort(texts.begin(), texts.end());
    texts.erase(std::unique(texts.begin(), texts.end()), texts.end());
    if (texts.empty()) continue;
    auto encoded = tokenizer_.EncodeBatch(texts, special);
    if (!encoded.ok()) continue;
    for (size_t i = 0; i < texts.size(); ++i) {
      tokens_[special].emplace_hint(tokens_[special].end(), std::move(texts[i]), std::move((*encoded)[i]));
    }
  }
  bytes_ = 0;
}

absl::StatusOr<std::vector<int32_t>> TokenizedTexts::Encode(absl::string_view text, bool add_special_tokens) const {
  const auto known = tokens_[add_special_tokens].find(text);
  if (known != tokens_[add_special_tokens].end()) return known->second;
  return tokenizer_.Encode(text, add_special_tokens);
}

}  // namespace merganser
