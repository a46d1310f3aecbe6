#include "worker/serve/stop_text.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "common/base/status_macros.h"

namespace merganser {

StopText::StopText(const Tokenizer* tokenizer, std::vector<std::string> stops)
    : stream_(tokenizer, /*skip_special_tokens=*/true), stops_(std::move(stops)) {}

std::string StopText::Release(bool all) {
  size_t cut = std::string::npos;
  for (const std::string& stop : stops_) cut = std::min(cut, held_.find(stop));
  if (cut != std::string::npos) {
    stopped_ = true;
    held_.resize(cut);
    return std::exchange(held_, "");
  }
  size_t keep = 0;  // the longest end that a stop string begins with
  if (!all) {
    for (const std::string& stop : stops_) {
      for (size_t n = std::min(held_.size(), stop.size() - 1); n > keep; --n) {
        if (absl::EndsWith(held_, absl::string_view(stop).substr(0, n))) keep = n;
      }
    }
  }
  std::string text = held_.substr(0, held_.size() - keep);
  held_.erase(0, text.size());
  return text;
}

absl::StatusOr<std::string> StopText::Append(int32_t token) {
  if (stopped_) return std::string();
  MG_ASSIGN_OR_RETURN(const std::string text, stream_.Append(token));
  held_ += text;
  return Release(/*all=*/false);
}

absl::StatusOr<std::string> StopText::Finish() {
  if (stopped_) return std::string();
  MG_ASSIGN_OR_RETURN(const std::string text, stream_.Finish());
  held_ += text;
  return Release(/*all=*/true);
}

}  // namespace merganser
