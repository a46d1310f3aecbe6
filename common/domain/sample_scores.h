// What a recipe got on samples of a benchmark, sample by sample: a bit per sample where a metric is 0 or 1, else a number.
#ifndef MERGANSER_COMMON_DOMAIN_SAMPLE_SCORES_H_
#define MERGANSER_COMMON_DOMAIN_SAMPLE_SCORES_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace merganser {

// A set of numbers from 0 on. A value.
class Bitmap {
 public:
  Bitmap() = default;
  // Number i is bit i % 8 (of value 1 << i % 8) of byte i / 8. Zero bytes at the end do not matter.
  explicit Bitmap(std::string bytes);

  // REQUIRES: i >= 0.
  void Set(int64_t i);
  bool Has(int64_t i) const {
    const auto byte = static_cast<size_t>(i / 8);
    return i >= 0 && byte < bytes_.size() && (static_cast<unsigned char>(bytes_[byte]) >> (i % 8) & 1) != 0;
  }
  int64_t Count() const;
  std::vector<int64_t> Numbers() const;  // ascending
  // Without zero bytes at the end: equal sets have equal bytes.
  const std::string& bytes() const { return bytes_; }

  bool operator==(const Bitmap&) const = default;

 private:
  std::string bytes_;
};

// One metric. Where every value is 0 or 1 only `right` counts; else values[i] is sample i's.
struct MetricScores {
  Bitmap right;
  std::vector<double> values;
  double Of(int64_t sample) const {
    if (values.empty()) return right.Has(sample) ? 1 : 0;
    return sample < static_cast<int64_t>(values.size()) ? values[static_cast<size_t>(sample)] : 0;
  }
  bool operator==(const MetricScores&) const = default;
};

// Of the metrics that are means over samples; other metrics have no value of a single sample.
struct SampleScores {
  Bitmap scored;
  std::map<std::string, MetricScores> metrics;

  // Adds a metric of the samples `numbers`, which become scored. REQUIRES: as many values as numbers, none below 0.
  void Add(const std::string& metric, const std::vector<int64_t>& numbers, const std::vector<double>& values);
  // Takes in what the same recipe got on other samples (or the same ones, which then win). A metric that one of them lacks
  // goes.
  void Merge(const SampleScores& other);

  bool Covers(const std::vector<int64_t>& samples) const;
  bool Has(absl::string_view metric) const { return metrics.count(std::string(metric)) != 0; }
  // Over `samples`, summed in their order. REQUIRES: Has(metric), Covers(samples), at least one sample.
  double Mean(const std::string& metric, const std::vector<int64_t>& samples) const;
  // In memory, about.
  int64_t Bytes() const;

  bool operator==(const SampleScores&) const = default;
};

// {benchmark: scores}
using ScoresByBenchmark = std::map<std::string, SampleScores>;

}  // namespace merganser

#endif  // MERGANSER_COMMON_DOMAIN_SAMPLE_SCORES_H_
