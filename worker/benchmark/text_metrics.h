// How alike a completion and a reference are.
#ifndef MERGANSER_WORKER_BENCHMARK_TEXT_METRICS_H_
#define MERGANSER_WORKER_BENCHMARK_TEXT_METRICS_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "worker/benchmark/model_text.h"
#include "worker/benchmark/morphemes.h"
#include "worker/benchmark/regex.h"
#include "worker/benchmark/settings.h"

namespace merganser {

// One metric of completions, in [0, 1]. Immutable, thread-safe.
// - "exact_match": both texts are equal once the regexes, case, ASCII punctuation and digits to be ignored are gone, in that
//   order (lm-evaluation-harness's exact_match); with unit "neologdn" ForRouge (japanese_text.h) of them is compared;
// - "f1": of the bags of units; words as SQuAD normalises them, or characters, or unit "mecab": the words that MeCab finds
//   (morphemes.h) that are no punctuation mark, as JP-LMEH has it for JSQuAD and JAQKET;
// - "rouge1", "rouge2", "rougeL": F-measure (Lin 2004) as rouge_score 0.1.2 has it without stemming; words are runs of a-z
//   and 0-9, so a language without spaces needs characters, "mecab", or unit "tokens": those of the model itself.
// Texts pass the `ignore_` settings first, in all of them.
class TextMetric {
 public:
  // InvalidArgument: an unknown name or unit, a broken regex.
  static absl::StatusOr<TextMetric> Create(const MetricSpec& spec);
  static const std::vector<std::string>& Names();

  // True if Score needs SetMorphemes, SetTokens before.
  bool needs_morphemes() const { return spec_.unit == "mecab"; }
  bool needs_tokens() const { return spec_.unit == "tokens"; }
  void SetMorphemes(std::shared_ptr<const Morphemes> morphemes) { morphemes_ = std::move(morphemes); }
  void SetTokens(std::shared_ptr<const ModelText> model) { model_ = std::move(model); }

  const std::string& name() const { return spec_.name; }
  // Errors are those of Morphemes::Words and ModelText::encode.
  absl::StatusOr<double> Score(absl::string_view completion, absl::string_view reference) const;
  // Of the reference that fits best; 0 without one.
  absl::StatusOr<double> Best(absl::string_view completion, const std::vector<std::string>& references) const;

 private:
  std::string Ignoring(absl::string_view text) const;
  absl::StatusOr<std::vector<std::string>> Units(absl::string_view text) const;

  MetricSpec spec_;
  std::vector<Regex> ignored_;
  std::shared_ptr<const Morphemes> morphemes_;
  std::shared_ptr<const ModelText> model_;
};

// F-measures, 0 if either side has no units (n-grams).
double BagF1(const std::vector<std::string>& completion, const std::vector<std::string>& reference);
double RougeN(const std::vector<std::string>& completion, const std::vector<std::string>& reference, size_t n);
double RougeL(const std::vector<std::string>& completion, const std::vector<std::string>& reference);

}  // namespace merganser

#endif  // MERGANSER_WORKER_BENCHMARK_TEXT_METRICS_H_
