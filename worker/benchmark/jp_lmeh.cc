#include "worker/benchmark/jp_lmeh.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "common/base/status_macros.h"

namespace merganser {
namespace {

constexpr char kSentenceEnd[] = "。";

absl::StatusOr<int64_t> Length(const ModelText& model, absl::string_view text) {
  MG_ASSIGN_OR_RETURN(const std::vector<int32_t> tokens, model.encode(text));
  return static_cast<int64_t>(tokens.size());
}

// The beginnings of a text that end with its first, second, ... last sentence, the last "。" left out.
class Beginnings {
 public:
  Beginnings(absl::string_view text, const ModelText& model) : text_(text), model_(model) {
    for (size_t at = text.find(kSentenceEnd); at != absl::string_view::npos; at = text.find(kSentenceEnd, at + 1)) {
      ends_.push_back(at);
    }
    ends_.push_back(text.size());
    tokens_.resize(ends_.size(), -1);
  }

  size_t count() const { return ends_.size(); }
  absl::string_view At(size_t i) const { return text_.substr(0, ends_[i]); }

  // The first that has more than `room` tokens; count(): none has. That harness looks at one after the other, which is time
  // quadratic in the room; here some are looked at.
  absl::StatusOr<size_t> FirstAbove(int64_t room) {
    constexpr int kEstimates = 3;
    double bytes_per_token = 3;
    size_t fitting = 0, above = count();
    for (int round = 0; fitting < above; ++round) {
      const auto bytes = static_cast<size_t>(std::max(0.0, static_cast<double>(room) * bytes_per_token));
      const auto estimate = std::lower_bound(ends_.begin() + fitting, ends_.begin() + (above - 1), bytes) - ends_.begin();
      const size_t i = round < kEstimates ? static_cast<size_t>(estimate) : fitting + (above - fitting) / 2;
      MG_ASSIGN_OR_RETURN(const int64_t tokens, Tokens(i));
      bytes_per_token = static_cast<double>(ends_[i]) / static_cast<double>(std::max<int64_t>(tokens, 1));
      if (tokens > room) {
        above = i;
      } else {
        fitting = i + 1;
      }
    }
    // What follows may join a text's last tokens, so that a longer one has fewer.
    constexpr int64_t kJoined = 16;
    for (size_t i = above; i-- > 0;) {
      MG_ASSIGN_OR_RETURN(const int64_t tokens, Tokens(i));
      if (tokens + kJoined <= room) break;
      if (tokens > room) above = i;
    }
    return above;
  }

 private:
  absl::StatusOr<int64_t> Tokens(size_t i) {
    if (tokens_[i] < 0) {
      MG_ASSIGN_OR_RETURN(tokens_[i], Length(model_, At(i)));
    }
    return tokens_[i];
  }

  const absl::string_view text_;
  const ModelText& model_;
  std::vector<size_t> ends_;
  std::vector<int64_t> tokens_;  // -1: not counted yet
};

// Whole sentences of `text` as long as they are at most `room` tokens together; the first one, cut, if that is longer.
absl::StatusOr<std::string> FirstSentences(const std::string& text, int64_t room, const ModelText& model) {
  Beginnings beginnings(text, model);
  MG_ASSIGN_OR_RETURN(const size_t above, beginnings.FirstAbove(room));
  if (above == beginnings.count()) return text;
  if (above > 0) return absl::StrCat(beginnings.At(above - 1), kSentenceEnd, "\n");
  MG_ASSIGN_OR_RETURN(std::vector<int32_t> tokens, model.encode(beginnings.At(0)));
  tokens.resize(std::min(tokens.size(), static_cast<size_t>(std::max<int64_t>(room, 0))));
  MG_ASSIGN_OR_RETURN(const std::string cut, model.decode(tokens));
  return absl::StrCat(cut, "\n");
}

}  // namespace

ExampleStrata::ExampleStrata(const std::vector<std::string>& targets) : size_(targets.size()) {
  std::vector<std::string> known;
  for (size_t i = 0; i < targets.size(); ++i) {
    const auto at = std::find(known.begin(), known.end(), targets[i]) - known.begin();
    if (at == static_cast<int64_t>(known.size())) {
      known.push_back(targets[i]);
      places_.emplace_back();
    }
    places_[static_cast<size_t>(at)].push_back(i);
  }
}

absl::StatusOr<std::vector<size_t>> ExampleStrata::Draw(int count, PythonRandom& random) const {
  std::vector<int> shares;
  int missing = count;
  for (const std::vector<size_t>& places : places_) {
    const double ratio = static_cast<double>(places.size()) / static_cast<double>(size_);
    shares.push_back(static_cast<int>(ratio * count));
    missing -= shares.back();
  }
  for (; missing > 0; --missing) ++*std::min_element(shares.begin(), shares.end());
  std::vector<size_t> drawn;
  for (size_t t = 0; t < places_.size(); ++t) {
    const auto available = static_cast<uint32_t>(places_[t].size());
    if (static_cast<uint32_t>(shares[t]) > available) {
      return absl::InvalidArgumentError(
          absl::StrCat("few_shot: ", shares[t], " of ", count, " examples would be of a target that has ", available));
    }
    for (const uint32_t i : random.Sample(available, static_cast<uint32_t>(shares[t]))) drawn.push_back(places_[t][i]);
  }
  std::vector<size_t> shuffled;
  for (const uint32_t i : random.Shuffled(static_cast<uint32_t>(drawn.size()))) shuffled.push_back(drawn[i]);
  return shuffled;
}

absl::StatusOr<std::string> WithShorterArticles(const std::string& prompt, const JpLmehSettings& settings, int64_t room,
                                                const ModelText& model) {
  MG_ASSIGN_OR_RETURN(const int64_t length, Length(model, prompt));
  if (length <= room) return prompt;
  std::vector<std::string> parts = absl::StrSplit(prompt, settings.article_begin);
  std::string shorter;
  size_t first = 0;
  if (parts[0].find(settings.article_end) == std::string::npos) {
    shorter = parts[0];
    first = 1;
  }
  if (first == parts.size()) return absl::InvalidArgumentError("a prompt that is too long has no article");
  const int64_t share = room / static_cast<int64_t>(parts.size() - first);
  for (size_t i = first; i < parts.size(); ++i) {
    const std::vector<std::string> sides =
        absl::StrSplit(absl::StrCat(settings.article_begin, parts[i]), settings.article_end);
    if (sides.size() != 2) {
      return absl::InvalidArgumentError(
          absl::StrCat("the prompt is too long, and where to shorten it is not clear: an article or a summary has '",
                       settings.article_end, "' or '", settings.article_begin, "' in it"));
    }
    MG_ASSIGN_OR_RETURN(const std::string text, FirstSentences(sides[0], share, model));
    absl::StrAppend(&shorter, text, settings.article_end, sides[1]);
  }
  return shorter;
}

}  // namespace merganser
