#include "worker/benchmark/text_metrics.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/closest_name.h"
#include "common/base/status_macros.h"
#include "worker/benchmark/japanese_text.h"
#include "worker/benchmark/text_forms.h"

namespace merganser {
namespace {

double FMeasure(double common, double completion, double reference) {
  if (common == 0 || completion == 0 || reference == 0) return 0;
  const double precision = common / completion, recall = common / reference;
  return 2 * precision * recall / (precision + recall);
}

// The marks that JP-LMEH's F1 leaves out, ASCII's beside them.
constexpr char kMarks[] =
    "！？｡。＂＃＄％＆＇（）＊＋，－／：；＜＝＞＠［＼］＾＿｀｛｜｝～｟｠｢｣､、〃》「」『』【】〔〕〖〗〘〙〚〛〜〝〞〟〰〾〿"
    "–—‘’‛“”„‟…‧﹏.";

bool IsMark(const std::string& word) {
  if (Characters(word).size() != 1) return false;
  return WithoutPunctuation(word).empty() || absl::StrContains(kMarks, word);
}

// By metric; "" is words.
std::vector<std::string> UnitsOf(const std::string& metric) {
  if (metric == "exact_match") return {"neologdn"};
  return {"words", "characters", "mecab", "tokens"};
}

}  // namespace

double BagF1(const std::vector<std::string>& completion, const std::vector<std::string>& reference) {
  std::map<std::string, int64_t> left;
  for (const std::string& unit : reference) ++left[unit];
  int64_t common = 0;
  for (const std::string& unit : completion) {
    const auto it = left.find(unit);
    if (it == left.end() || it->second == 0) continue;
    --it->second;
    ++common;
  }
  return FMeasure(common, completion.size(), reference.size());
}

double RougeN(const std::vector<std::string>& completion, const std::vector<std::string>& reference, size_t n) {
  const auto grams = [n](const std::vector<std::string>& units) {
    std::vector<std::string> joined;
    for (size_t i = 0; i + n <= units.size(); ++i) {
      std::string gram;
      for (size_t k = 0; k < n; ++k) absl::StrAppend(&gram, units[i + k], absl::string_view("\0", 1));
      joined.push_back(std::move(gram));
    }
    return joined;
  };
  return BagF1(grams(completion), grams(reference));
}

double RougeL(const std::vector<std::string>& completion, const std::vector<std::string>& reference) {
  std::vector<int> row(reference.size() + 1, 0);  // longest common subsequence so far, by length of the reference
  for (const std::string& unit : completion) {
    int diagonal = 0;
    for (size_t j = 0; j < reference.size(); ++j) {
      const int above = row[j + 1];
      row[j + 1] = unit == reference[j] ? diagonal + 1 : std::max(above, row[j]);
      diagonal = above;
    }
  }
  return FMeasure(row.back(), completion.size(), reference.size());
}

const std::vector<std::string>& TextMetric::Names() {
  static const auto* const names = new std::vector<std::string>{"exact_match", "f1", "rouge1", "rouge2", "rougeL"};
  return *names;
}

absl::StatusOr<TextMetric> TextMetric::Create(const MetricSpec& spec) {
  if (std::find(Names().begin(), Names().end(), spec.name) == Names().end()) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", spec.name, "' is no metric of completions", DidYouMean(spec.name, Names())));
  }
  const std::vector<std::string> units = UnitsOf(spec.name);
  if (!spec.unit.empty() && std::find(units.begin(), units.end(), spec.unit) == units.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat(spec.name, ": unit '", spec.unit, "' is none of ", absl::StrJoin(units, ", ")));
  }
  TextMetric metric;
  metric.spec_ = spec;
  for (const std::string& pattern : spec.regexes_to_ignore) {
    auto regex = Regex::Compile(pattern);
    if (!regex.ok()) return Annotate(regex.status(), absl::StrCat(spec.name, ": regexes_to_ignore"));
    metric.ignored_.push_back(*std::move(regex));
  }
  return metric;
}

std::string TextMetric::Ignoring(absl::string_view text) const {
  std::string out(text);
  for (const Regex& regex : ignored_) out = regex.Without(out);
  if (spec_.ignore_case) out = Lowercase(out);
  if (spec_.ignore_punctuation) out = WithoutPunctuation(out);
  if (spec_.ignore_numbers) out = WithoutDigits(out);
  return out;
}

absl::StatusOr<std::vector<std::string>> TextMetric::Units(absl::string_view text) const {
  if (morphemes_ != nullptr) {
    MG_ASSIGN_OR_RETURN(std::vector<std::string> words, morphemes_->Words(text));
    if (spec_.name == "f1") std::erase_if(words, IsMark);
    return words;
  }
  if (model_ != nullptr) {
    MG_ASSIGN_OR_RETURN(const std::vector<int32_t> tokens, model_->encode(text));
    std::vector<std::string> units;
    for (const int32_t token : tokens) units.push_back(absl::StrCat(token));
    return units;
  }
  if (spec_.unit == "characters") return Characters(text);
  return spec_.name == "f1" ? SquadWords(text) : RougeWords(text);
}

absl::StatusOr<double> TextMetric::Score(absl::string_view completion, absl::string_view reference) const {
  std::string a = Ignoring(completion), b = Ignoring(reference);
  if (spec_.name == "exact_match") {
    if (!spec_.unit.empty()) a = ForRouge(a), b = ForRouge(b);
    return a == b ? 1.0 : 0.0;
  }
  MG_ASSIGN_OR_RETURN(const std::vector<std::string> ours, Units(a));
  MG_ASSIGN_OR_RETURN(const std::vector<std::string> theirs, Units(b));
  const bool both_empty = ours.empty() && theirs.empty();
  if (spec_.name == "f1") return both_empty && morphemes_ == nullptr ? 1.0 : BagF1(ours, theirs);
  if (spec_.name == "rougeL") return RougeL(ours, theirs);
  return RougeN(ours, theirs, spec_.name == "rouge1" ? 1 : 2);
}

absl::StatusOr<double> TextMetric::Best(absl::string_view completion, const std::vector<std::string>& references) const {
  double best = 0;
  for (const std::string& reference : references) {
    MG_ASSIGN_OR_RETURN(const double score, Score(completion, reference));
    best = std::max(best, score);
  }
  return best;
}

}  // namespace merganser
