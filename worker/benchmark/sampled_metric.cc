#include "worker/benchmark/sampled_metric.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <string>

namespace merganser {
namespace {

double ValueOf(const SampleOutcome& sample, const std::string& key) {
  const auto it = sample.values.find(key);
  return it == sample.values.end() ? 0 : it->second;
}

std::vector<double> ColumnOf(absl::Span<const SampleOutcome> samples, const std::string& key) {
  std::vector<double> values;
  values.reserve(samples.size());
  for (const SampleOutcome& sample : samples) values.push_back(ValueOf(sample, key));
  return values;
}

// What the classification metrics are made of.
struct Confusion {
  int classes = 0;
  std::vector<double> counts;  // [gold * classes + pred]
  double at(int gold, int pred) const { return counts[gold * classes + pred]; }
  double gold(int c) const {
    double sum = 0;
    for (int p = 0; p < classes; ++p) sum += at(c, p);
    return sum;
  }
  double pred(int c) const {
    double sum = 0;
    for (int g = 0; g < classes; ++g) sum += at(g, c);
    return sum;
  }
};

// Gorodkin 2004, as scikit-learn's matthews_corrcoef: 0 where either side is constant.
double Mcc(const Confusion& m) {
  double total = 0, correct = 0, both = 0, pred2 = 0, gold2 = 0;
  for (int c = 0; c < m.classes; ++c) {
    const double g = m.gold(c), p = m.pred(c);
    total += g;
    correct += m.at(c, c);
    both += g * p;
    pred2 += p * p;
    gold2 += g * g;
  }
  const double scale = (total * total - pred2) * (total * total - gold2);
  return scale > 0 ? (correct * total - both) / std::sqrt(scale) : 0;
}

// Over the classes that occur on either side, as scikit-learn's f1_score(average="macro").
double MacroF1(const Confusion& m) {
  double sum = 0;
  int present = 0;
  for (int c = 0; c < m.classes; ++c) {
    const double size = m.gold(c) + m.pred(c);
    if (size == 0) continue;
    ++present;
    sum += 2 * m.at(c, c) / size;
  }
  return present > 0 ? sum / present : 0;
}

// Of the class at place `c`; 0 where neither side has it.
double F1Of(const Confusion& m, int c) {
  const double size = c < m.classes ? m.gold(c) + m.pred(c) : 0;
  return size > 0 ? 2 * m.at(c, c) / size : 0;
}

double BalancedAcc(const Confusion& m) {
  double sum = 0;
  int present = 0;
  for (int c = 0; c < m.classes; ++c) {
    const double size = m.gold(c);
    if (size == 0) continue;
    ++present;
    sum += m.at(c, c) / size;
  }
  return present > 0 ? sum / present : 0;
}

}  // namespace

SampledMetric::SampledMetric(const MetricKey& key, absl::Span<const SampleOutcome> samples) : aggregation_(key.aggregation) {
  switch (aggregation_) {
    case Aggregation::kMean:
      values_ = ColumnOf(samples, key.name);
      per_sample_ = values_;
      return;
    case Aggregation::kBootstrapMedian:
      values_ = ColumnOf(samples, key.name.substr(0, key.name.size() - (sizeof kMedianSuffix - 1)));
      per_sample_ = values_;
      return;
    case Aggregation::kAnswers:
      SetAnswers(key, samples);
      return;
    case Aggregation::kPassAtK:
      SetPassAtK(key.k, samples);
      return;
    case Aggregation::kMcc:
    case Aggregation::kMacroF1:
    case Aggregation::kBinaryF1:
    case Aggregation::kBalancedAcc:
      for (const double v : ColumnOf(samples, "gold")) gold_.push_back(Class(v));
      for (const double v : ColumnOf(samples, "pred")) pred_.push_back(Class(v));
      return;
    case Aggregation::kTranslation:
      translation_.emplace(key.metric);
      for (size_t i = 0; i < translation_->size(); ++i) {
        counts_.push_back(ColumnOf(samples, TranslationCountKey(key.name, i)));
      }
      return;
    case Aggregation::kWordPerplexity:
      weight_ = ColumnOf(samples, "words");
      break;
    case Aggregation::kPerplexity:
      weight_.assign(samples.size(), 1);
      break;
    case Aggregation::kBytePerplexity:
    case Aggregation::kBitsPerByte:
      weight_ = ColumnOf(samples, "bytes");
      break;
  }
  log_likelihood_ = ColumnOf(samples, "log_likelihood");
}

double SampledMetric::Of(absl::Span<const int> indices) const {
  if (!per_sample_.empty()) {
    double sum = 0;
    for (const int i : indices) sum += per_sample_[i];
    return indices.empty() ? 0 : sum / static_cast<double>(indices.size());
  }
  if (translation_) {
    TranslationCounts sums;
    for (const std::vector<double>& column : counts_) {
      double sum = 0;
      for (const int i : indices) sum += column[i];
      sums.push_back(sum);
    }
    return translation_->Score(sums);
  }
  if (!gold_.empty()) {
    Confusion m;
    m.classes = static_cast<int>(classes_.size());
    m.counts.assign(m.classes * m.classes, 0);
    for (const int i : indices) ++m.counts[gold_[i] * m.classes + pred_[i]];
    if (aggregation_ == Aggregation::kMcc) return Mcc(m);
    if (aggregation_ == Aggregation::kBinaryF1) {
      const auto one = std::find(classes_.begin(), classes_.end(), 1.0);
      return F1Of(m, static_cast<int>(one - classes_.begin()));
    }
    return aggregation_ == Aggregation::kMacroF1 ? MacroF1(m) : BalancedAcc(m);
  }
  double sum = 0, weight = 0;
  for (const int i : indices) {
    sum += log_likelihood_[i];
    weight += weight_[i];
  }
  if (weight == 0) return 0;
  return aggregation_ == Aggregation::kBitsPerByte ? -sum / weight / std::log(2.0) : std::exp(-sum / weight);
}

// Chen et al. 2021: of n completions c pass; 1 - C(n - c, k) / C(n, k) is the unbiased estimate for k of them. With fewer
// than k, which a drawn subset may have left, all there are.
void SampledMetric::SetPassAtK(int k, absl::Span<const SampleOutcome> samples) {
  struct Problem {
    int count = 0, passed = 0;
    size_t place = 0;
  };
  std::map<double, Problem> problems;
  const std::vector<double> problem = ColumnOf(samples, "problem"), passed = ColumnOf(samples, "passed");
  for (size_t i = 0; i < samples.size(); ++i) {
    Problem& p = problems[problem[i]];
    ++p.count;
    p.passed += passed[i] != 0;
  }
  for (auto& [name, p] : problems) {
    p.place = values_.size();
    const int drawn = std::min(k, p.count);
    double none = p.count - p.passed < drawn ? 0 : 1;  // the chance that none of them passes
    for (int i = p.count - p.passed + 1; none > 0 && i <= p.count; ++i) none *= 1 - static_cast<double>(drawn) / i;
    values_.push_back(1 - none);
  }
  for (const double name : problem) per_sample_.push_back(values_[problems[name].place]);
}

// Of a drawn subset: the first of those that are there.
void SampledMetric::SetAnswers(const MetricKey& key, absl::Span<const SampleOutcome> samples) {
  struct Problem {
    std::vector<size_t> answers;
    size_t place = 0;
  };
  std::map<double, Problem> problems;
  const std::vector<double> problem = ColumnOf(samples, "problem"), value = ColumnOf(samples, key.value);
  const std::vector<double> ballot = key.choice.vote ? ColumnOf(samples, key.ballot) : std::vector<double>();
  for (size_t i = 0; i < samples.size(); ++i) {
    std::vector<size_t>& answers = problems[problem[i]].answers;
    if (key.choice.first == 0 || answers.size() < static_cast<size_t>(key.choice.first)) answers.push_back(i);
  }
  for (auto& [name, p] : problems) {
    p.place = values_.size();
    double sum = 0;
    if (key.choice.vote) {
      std::map<double, int> votes;
      for (const size_t i : p.answers) ++votes[ballot[i]];
      size_t best = p.answers.front();
      for (const size_t i : p.answers) {
        if (votes[ballot[i]] > votes[ballot[best]]) best = i;
      }
      p.answers = {best};
    }
    for (const size_t i : p.answers) sum += value[i];
    values_.push_back(sum / static_cast<double>(p.answers.size()));
  }
  for (const double name : problem) per_sample_.push_back(values_[problems[name].place]);
}

int SampledMetric::Class(double label) {
  const auto it = std::find(classes_.begin(), classes_.end(), label);
  if (it != classes_.end()) return static_cast<int>(it - classes_.begin());
  classes_.push_back(label);
  return static_cast<int>(classes_.size()) - 1;
}

}  // namespace merganser
