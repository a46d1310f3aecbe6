#include "common/domain/sample_scores.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace merganser {
namespace {

bool IsBit(double value) { return value == 0 || value == 1; }

// From bits to numbers.
void Widen(const Bitmap& scored, MetricScores* metric) {
  if (!metric->values.empty()) return;
  for (const int64_t i : scored.Numbers()) {
    metric->values.resize(static_cast<size_t>(i) + 1, 0.0);
    metric->values.back() = metric->right.Has(i) ? 1 : 0;
  }
  metric->right = Bitmap();
}

void Put(int64_t sample, double value, MetricScores* metric) {
  if (static_cast<int64_t>(metric->values.size()) <= sample) metric->values.resize(static_cast<size_t>(sample) + 1, 0.0);
  metric->values[static_cast<size_t>(sample)] = value;
}

}  // namespace

Bitmap::Bitmap(std::string bytes) : bytes_(std::move(bytes)) {
  while (!bytes_.empty() && bytes_.back() == 0) bytes_.pop_back();
}

void Bitmap::Set(int64_t i) {
  const auto byte = static_cast<size_t>(i / 8);
  if (bytes_.size() <= byte) bytes_.resize(byte + 1, 0);
  bytes_[byte] = static_cast<char>(static_cast<unsigned char>(bytes_[byte]) | 1u << (i % 8));
}

int64_t Bitmap::Count() const {
  int64_t count = 0;
  for (const char byte : bytes_) count += std::popcount(static_cast<unsigned char>(byte));
  return count;
}

std::vector<int64_t> Bitmap::Numbers() const {
  std::vector<int64_t> numbers;
  for (int64_t i = 0; i < static_cast<int64_t>(bytes_.size()) * 8; ++i) {
    if (Has(i)) numbers.push_back(i);
  }
  return numbers;
}

void SampleScores::Add(const std::string& metric, const std::vector<int64_t>& numbers, const std::vector<double>& values) {
  MetricScores& scores = metrics[metric];
  const bool bits = std::all_of(values.begin(), values.end(), IsBit);
  for (size_t i = 0; i < numbers.size(); ++i) {
    scored.Set(numbers[i]);
    if (!bits) {
      Put(numbers[i], values[i], &scores);
    } else if (values[i] == 1) {
      scores.right.Set(numbers[i]);
    }
  }
}

void SampleScores::Merge(const SampleScores& other) {
  if (other.metrics.empty()) return;
  if (metrics.empty()) {
    *this = other;
    return;
  }
  std::erase_if(metrics, [&](const auto& entry) { return other.metrics.count(entry.first) == 0; });
  for (auto& [name, metric] : metrics) {
    const MetricScores& theirs = other.metrics.at(name);
    const bool bits = metric.values.empty() && theirs.values.empty();
    if (!bits) Widen(scored, &metric);
    for (const int64_t i : other.scored.Numbers()) {
      if (!bits) {
        Put(i, theirs.Of(i), &metric);
      } else if (theirs.right.Has(i)) {
        metric.right.Set(i);
      }
    }
  }
  for (const int64_t i : other.scored.Numbers()) scored.Set(i);
}

bool SampleScores::Covers(const std::vector<int64_t>& samples) const {
  return std::all_of(samples.begin(), samples.end(), [&](int64_t i) { return scored.Has(i); });
}

double SampleScores::Mean(const std::string& metric, const std::vector<int64_t>& samples) const {
  const MetricScores& scores = metrics.at(metric);
  double sum = 0;
  for (const int64_t i : samples) sum += scores.Of(i);
  return sum / static_cast<double>(samples.size());
}

int64_t SampleScores::Bytes() const {
  auto bytes = static_cast<int64_t>(sizeof(SampleScores) + scored.bytes().size());
  for (const auto& [name, metric] : metrics) {
    bytes += static_cast<int64_t>(sizeof(name) + sizeof(metric) + metric.right.bytes().size() +
                                  metric.values.size() * sizeof(double));
  }
  return bytes;
}

}  // namespace merganser
