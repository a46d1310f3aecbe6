#include "worker/benchmark/aggregate.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <set>

#include "absl/strings/str_cat.h"
#include "common/base/rng.h"

namespace merganser {
namespace {

constexpr int kResamplings = 200;
constexpr uint64_t kResamplingKey = 0x6d657267616e7365;  // any constant: the same data gives the same error

double At(const SampleOutcome& sample, const std::string& key) {
  const auto it = sample.values.find(key);
  return it == sample.values.end() ? 0 : it->second;
}

std::vector<double> Column(absl::Span<const SampleOutcome> samples, const std::string& key) {
  std::vector<double> values;
  values.reserve(samples.size());
  for (const SampleOutcome& sample : samples) values.push_back(At(sample, key));
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

// A metric of all samples at once, of those that `indices` names.
class CorpusMetric {
 public:
  CorpusMetric(Aggregation aggregation, absl::Span<const SampleOutcome> samples) : aggregation_(aggregation) {
    switch (aggregation) {
      case Aggregation::kMcc:
      case Aggregation::kMacroF1:
      case Aggregation::kBalancedAcc: {
        for (const double v : Column(samples, "gold")) gold_.push_back(Class(v));
        for (const double v : Column(samples, "pred")) pred_.push_back(Class(v));
        break;
      }
      case Aggregation::kWordPerplexity: weight_ = Column(samples, "words"); break;
      case Aggregation::kPerplexity: weight_.assign(samples.size(), 1); break;
      default: weight_ = Column(samples, "bytes");
    }
    if (!weight_.empty()) log_likelihood_ = Column(samples, "log_likelihood");
  }

  double Of(absl::Span<const int> indices) const {
    if (!gold_.empty()) {
      Confusion m;
      m.classes = static_cast<int>(classes_.size());
      m.counts.assign(m.classes * m.classes, 0);
      for (const int i : indices) ++m.counts[gold_[i] * m.classes + pred_[i]];
      if (aggregation_ == Aggregation::kMcc) return Mcc(m);
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

 private:
  // Labels to 0, 1, ... in order of appearance.
  int Class(double label) {
    const auto it = std::find(classes_.begin(), classes_.end(), label);
    if (it != classes_.end()) return static_cast<int>(it - classes_.begin());
    classes_.push_back(label);
    return static_cast<int>(classes_.size()) - 1;
  }

  const Aggregation aggregation_;
  std::vector<double> classes_;
  std::vector<int> gold_, pred_;
  std::vector<double> log_likelihood_, weight_;
};

MetricEstimate Mean(const std::vector<double>& values) {
  MetricEstimate estimate;
  const auto n = static_cast<double>(values.size());
  double sum = 0;
  estimate.proportion = true;
  for (const double v : values) {
    sum += v;
    estimate.proportion = estimate.proportion && (v == 0 || v == 1);
  }
  estimate.value = sum / n;
  if (values.size() < 2) return estimate;
  double squares = 0;
  for (const double v : values) squares += (v - estimate.value) * (v - estimate.value);
  estimate.standard_error = std::sqrt(squares / (n - 1) / n);
  return estimate;
}

// rouge_score's BootstrapAggregator: numpy's median of 1000 means.
MetricEstimate BootstrapMedian(const std::vector<double>& values) {
  constexpr size_t kMeans = 1000;
  Rng rng(kResamplingKey, values.size());
  std::vector<double> means(kMeans);
  for (double& mean : means) {
    for (size_t i = 0; i < values.size(); ++i) {
      mean += values[static_cast<size_t>(rng.Uniform() * static_cast<double>(values.size()))];
    }
    mean /= static_cast<double>(values.size());
  }
  std::sort(means.begin(), means.end());
  MetricEstimate estimate = Mean(values);
  estimate.value = (means[kMeans / 2 - 1] + means[kMeans / 2]) / 2;
  estimate.proportion = false;
  return estimate;
}

}  // namespace

const char kStandardErrorSuffix[] = "_stderr";

MetricEstimate Estimate(const MetricKey& key, absl::Span<const SampleOutcome> samples) {
  if (key.aggregation == Aggregation::kBootstrapMedian) {
    return BootstrapMedian(Column(samples, key.name.substr(0, key.name.size() - (sizeof kMedianSuffix - 1))));
  }
  if (key.aggregation == Aggregation::kMean) return Mean(Column(samples, key.name));
  const CorpusMetric metric(key.aggregation, samples);
  std::vector<int> indices(samples.size());
  for (size_t i = 0; i < indices.size(); ++i) indices[i] = static_cast<int>(i);
  MetricEstimate estimate;
  estimate.value = metric.Of(indices);
  if (samples.size() < 2) return estimate;
  Rng rng(kResamplingKey, samples.size());
  std::vector<double> resampled;
  for (int r = 0; r < kResamplings; ++r) {
    for (int& i : indices) i = static_cast<int>(rng.Uniform() * static_cast<double>(samples.size()));
    resampled.push_back(metric.Of(indices));
  }
  const MetricEstimate spread = Mean(resampled);
  estimate.standard_error = spread.standard_error * std::sqrt(static_cast<double>(kResamplings));
  return estimate;
}

std::map<std::string, double> Metrics(absl::Span<const MetricKey> keys, absl::Span<const SampleOutcome> samples) {
  std::map<std::string, double> metrics;
  for (const MetricKey& key : keys) {
    const MetricEstimate estimate = Estimate(key, samples);
    metrics[key.name] = estimate.value;
    if (!estimate.proportion) metrics[absl::StrCat(key.name, kStandardErrorSuffix)] = estimate.standard_error;
  }
  return metrics;
}

}  // namespace merganser
