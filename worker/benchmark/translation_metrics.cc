#include "worker/benchmark/translation_metrics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "worker/benchmark/text_forms.h"
#include "worker/benchmark/translation_edits.h"

namespace merganser {
namespace {

constexpr int kBleuOrder = 4;
constexpr int kCharacterOrder = 6;
constexpr double kBetaSquared = 4;  // recall counts twice as much

using Grams = std::map<std::string, double>;

// White space parts n-grams' words, which have none.
Grams NGrams(const std::vector<std::string>& units, int n) {
  Grams grams;
  for (size_t i = 0; i + static_cast<size_t>(n) <= units.size(); ++i) {
    std::string gram;
    for (int k = 0; k < n; ++k) absl::StrAppend(&gram, units[i + k], "\n");
    ++grams[gram];
  }
  return grams;
}

bool IsMtevalSymbol(char c) {
  return (c >= '{' && c <= '~') || (c >= '[' && c <= '`') || (c >= ' ' && c <= '&') || (c >= '(' && c <= '+') ||
         (c >= ':' && c <= '@') || c == '/';
}

// Each match of two neighbours, left to right, none twice.
template <typename First, typename Second>
std::string SpacedPairs(const std::string& text, First first, Second second, absl::string_view before,
                        absl::string_view between, absl::string_view behind) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    if (i + 1 < text.size() && first(text[i]) && second(text[i + 1])) {
      absl::StrAppend(&out, before, text.substr(i, 1), between, text.substr(i + 1, 1), behind);
      i += 2;
    } else {
      out.push_back(text[i++]);
    }
  }
  return out;
}

// chrF++'s words: one punctuation mark is taken off the end of a word, else off its beginning.
std::vector<std::string> ChrfWords(absl::string_view text) {
  std::vector<std::string> words;
  for (std::string& word : WhitespaceWords(text)) {
    if (Characters(word).size() == 1) {
      words.push_back(std::move(word));
    } else if (absl::ascii_ispunct(static_cast<unsigned char>(word.back()))) {
      words.push_back(word.substr(0, word.size() - 1));
      words.push_back(word.substr(word.size() - 1));
    } else if (absl::ascii_ispunct(static_cast<unsigned char>(word.front()))) {
      words.push_back(word.substr(0, 1));
      words.push_back(word.substr(1));
    } else {
      words.push_back(std::move(word));
    }
  }
  return words;
}

std::vector<Grams> ChrfGrams(absl::string_view text, int word_order) {
  std::vector<Grams> grams;
  const std::vector<std::string> characters = Characters(text);
  for (int n = 1; n <= kCharacterOrder; ++n) grams.push_back(NGrams(characters, n));
  if (word_order == 0) return grams;
  const std::vector<std::string> words = ChrfWords(text);
  for (int n = 1; n <= word_order; ++n) grams.push_back(NGrams(words, n));
  return grams;
}

// [n-grams of the completion, of the reference, of both] for each order; mean precision and recall over the orders that both
// sides have.
double ChrfScore(const TranslationCounts& counts) {
  double precision = 0, recall = 0, orders = 0;
  for (size_t i = 0; i + 2 < counts.size(); i += 3) {
    if (counts[i] <= 0 || counts[i + 1] <= 0) continue;
    precision += counts[i + 2] / counts[i];
    recall += counts[i + 2] / counts[i + 1];
    ++orders;
  }
  if (precision + recall == 0) return 0;
  precision /= orders;
  recall /= orders;
  return 100 * ((1 + kBetaSquared) * precision * recall / (kBetaSquared * precision + recall));
}

TranslationCounts ChrfCounts(absl::string_view completion, const std::vector<std::string>& references, int word_order) {
  const std::vector<Grams> ours = ChrfGrams(completion, word_order);
  TranslationCounts best;
  double best_score = -1;
  for (const std::string& reference : references) {
    const std::vector<Grams> theirs = ChrfGrams(reference, word_order);
    TranslationCounts counts;
    for (size_t order = 0; order < ours.size(); ++order) {
      double completed = 0, referred = 0, both = 0;
      for (const auto& [gram, count] : ours[order]) {
        completed += count;
        if (const auto it = theirs[order].find(gram); it != theirs[order].end()) both += std::min(count, it->second);
      }
      for (const auto& [gram, count] : theirs[order]) referred += count;
      counts.insert(counts.end(), {referred > 0 ? completed : 0, referred, both});
    }
    if (const double score = ChrfScore(counts); score > best_score) {
      best_score = score;
      best = std::move(counts);
    }
  }
  return best;
}

// [words, words of the reference, n-grams of both by order, n-grams by order]
TranslationCounts BleuCounts(absl::string_view completion, const std::vector<std::string>& references) {
  const std::vector<std::string> words = MtevalWords(completion);
  const auto length = static_cast<double>(words.size());
  double nearest = -1;
  std::vector<Grams> theirs(kBleuOrder);
  for (const std::string& reference : references) {
    const std::vector<std::string> other = MtevalWords(reference);
    const auto other_length = static_cast<double>(other.size());
    const double away = std::abs(length - other_length), least = std::abs(length - nearest);
    if (nearest < 0 || away < least || (away == least && other_length < nearest)) nearest = other_length;
    for (int n = 1; n <= kBleuOrder; ++n) {
      for (const auto& [gram, count] : NGrams(other, n)) {
        double& most = theirs[n - 1][gram];
        most = std::max(most, count);
      }
    }
  }
  TranslationCounts counts(2 + 2 * kBleuOrder, 0);
  counts[0] = length;
  counts[1] = nearest;
  for (int n = 1; n <= kBleuOrder; ++n) {
    for (const auto& [gram, count] : NGrams(words, n)) {
      counts[1 + kBleuOrder + n] += count;
      const auto it = theirs[n - 1].find(gram);
      if (it != theirs[n - 1].end()) counts[1 + n] += std::min(count, it->second);
    }
  }
  return counts;
}

// Chen and Cherry 2014's third smoothing: an order without a match counts as 1/2, the next 1/4 of one.
double BleuScore(const TranslationCounts& counts) {
  double any = 0, smoothing = 1, logs = 0;
  for (int n = 1; n <= kBleuOrder; ++n) any += counts[1 + n];
  if (any == 0) return 0;
  for (int n = 1; n <= kBleuOrder; ++n) {
    const double both = counts[1 + n], all = counts[1 + kBleuOrder + n];
    if (all == 0) return 0;  // no text has so many words
    if (both == 0) smoothing *= 2;
    logs += std::log(both == 0 ? 100 / (smoothing * all) : 100 * both / all);
  }
  const double brevity = counts[0] < counts[1] ? std::exp(1 - counts[1] / counts[0]) : 1;
  return brevity * std::exp(logs / kBleuOrder);
}

TranslationCounts TerCounts(absl::string_view completion, const std::vector<std::string>& references) {
  const std::vector<std::string> words = WhitespaceWords(Lowercase(completion));
  double edits = std::numeric_limits<double>::infinity(), length = 0;
  for (const std::string& reference : references) {
    const std::vector<std::string> other = WhitespaceWords(Lowercase(reference));
    edits = std::min(edits, static_cast<double>(TranslationEdits(words, other)));
    length += static_cast<double>(other.size());
  }
  return {edits, length / static_cast<double>(references.size())};
}

double TerScore(const TranslationCounts& counts) {
  if (counts[1] > 0) return 100 * (counts[0] / counts[1]);
  return counts[0] > 0 ? 100 : 0;
}

}  // namespace

std::vector<std::string> MtevalWords(absl::string_view text) {
  std::string line = absl::StrReplaceAll(StripTrailingWhitespace(text), {{"<skipped>", ""}});
  line = absl::StrReplaceAll(line, {{"-\n", ""}});
  line = absl::StrReplaceAll(line, {{"\n", " "}});
  for (const auto& [entity, character] :
       {std::pair("&quot;", "\""), std::pair("&amp;", "&"), std::pair("&lt;", "<"), std::pair("&gt;", ">")}) {
    line = absl::StrReplaceAll(line, {{entity, character}});
  }
  std::string spaced = " ";
  for (const char c : line + " ") {
    if (IsMtevalSymbol(c)) {
      absl::StrAppend(&spaced, " ", absl::string_view(&c, 1), " ");
    } else {
      spaced.push_back(c);
    }
  }
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  const auto other = [digit](char c) { return !digit(c); };
  const auto stop = [](char c) { return c == '.' || c == ','; };
  spaced = SpacedPairs(spaced, other, stop, "", " ", " ");
  spaced = SpacedPairs(spaced, stop, other, " ", " ", "");
  spaced = SpacedPairs(
      spaced, digit, [](char c) { return c == '-'; }, "", " ", " ");
  return WhitespaceWords(spaced);
}

const std::vector<std::string>& TranslationMetric::Names() {
  static const auto* const names = new std::vector<std::string>{"bleu", "chrf", "chrf++", "ter"};
  return *names;
}

TranslationMetric::TranslationMetric(absl::string_view name)
    : bleu_(name == "bleu"), ter_(name == "ter"), word_order_(name == "chrf++" ? 2 : 0) {}

size_t TranslationMetric::size() const {
  return ter_ ? 2 : bleu_ ? 2 + 2 * kBleuOrder : 3 * (kCharacterOrder + word_order_);
}

TranslationCounts TranslationMetric::Counts(absl::string_view completion, const std::vector<std::string>& references) const {
  if (ter_) return TerCounts(completion, references);
  return bleu_ ? BleuCounts(completion, references) : ChrfCounts(completion, references, word_order_);
}

double TranslationMetric::Score(const TranslationCounts& sums) const {
  return ter_ ? TerScore(sums) : bleu_ ? BleuScore(sums) : ChrfScore(sums);
}

}  // namespace merganser
