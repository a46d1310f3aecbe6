// BLEU, chrF and TER of a corpus, as sacrebleu 2 gives them with its defaults.
#ifndef MERGANSER_WORKER_BENCHMARK_TRANSLATION_METRICS_H_
#define MERGANSER_WORKER_BENCHMARK_TRANSLATION_METRICS_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace merganser {

// What a translation counts for in its corpus; the corpus' score is that of the sums. Counts of n-grams; of TER edits, and
// the references' mean number of words.
using TranslationCounts = std::vector<double>;

// A metric of corpora: "bleu" (1- to 4-grams of the words of mteval-v13a, exponential smoothing), "chrf" (1- to 6-grams of
// characters without white space, recall counting twice), "chrf++" (also 1- and 2-grams of words), "ter" (edits per word of
// the reference, in lower case, see translation_edits.h; less is better). Immutable, thread-safe.
class TranslationMetric {
 public:
  static const std::vector<std::string>& Names();
  // REQUIRES: a name of Names().
  explicit TranslationMetric(absl::string_view name);

  // How many counts there are.
  size_t size() const;
  // Of several references BLEU takes the n-grams of all and the length that is nearest, chrF the reference that scores best,
  // TER the one that needs fewest edits.
  TranslationCounts Counts(absl::string_view completion, const std::vector<std::string>& references) const;
  // In [0, 100]; TER may be above. REQUIRES: size() sums.
  double Score(const TranslationCounts& sums) const;

 private:
  bool bleu_ = false, ter_ = false;
  int word_order_ = 0;
};

// The words of mteval-v13a (sacrebleu's tokenizer "13a"), without spaces at the text's end.
std::vector<std::string> MtevalWords(absl::string_view text);

}  // namespace merganser

#endif  // MERGANSER_WORKER_BENCHMARK_TRANSLATION_METRICS_H_
