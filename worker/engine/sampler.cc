#include "worker/engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "common/base/rng.h"

namespace merganser {
namespace {

constexpr int kBeamsMax = 64;

absl::Status Bad(absl::string_view field, double value, absl::string_view bound) {
  return absl::InvalidArgumentError(absl::StrCat(field, " is ", value, ", not in ", bound));
}

}  // namespace

absl::Status Validate(const Sampling& s) {
  // Written so that NaN is out of range.
  if (!(s.temperature >= 0 && s.temperature <= 100)) return Bad("temperature", s.temperature, "[0, 100]");
  if (s.top_k < 0) return absl::InvalidArgumentError(absl::StrCat("top_k is ", s.top_k, ", below 0"));
  if (!(s.top_p > 0 && s.top_p <= 1)) return Bad("top_p", s.top_p, "(0, 1]");
  if (!(s.repetition_penalty > 0 && s.repetition_penalty <= 100)) {
    return Bad("repetition_penalty", s.repetition_penalty, "(0, 100]");
  }
  return absl::OkStatus();
}

absl::Status Validate(const Beams& beams) {
  if (beams.count < 1 || beams.count > kBeamsMax) {
    return Bad("beams", beams.count, absl::StrCat("[1, ", kBeamsMax, "]"));
  }
  if (!(std::abs(beams.length_penalty) <= 100)) {
    return Bad("length_penalty", beams.length_penalty, "[-100, 100]");
  }
  return absl::OkStatus();
}

int32_t ArgMax(absl::Span<const float> scores) {
  return static_cast<int32_t>(std::max_element(scores.begin(), scores.end()) - scores.begin());
}

void LogSoftmax(absl::Span<float> scores) {
  const float max = *std::max_element(scores.begin(), scores.end());
  double sum = 0;
  for (const float x : scores) sum += std::exp(x - max);
  const float log_sum = static_cast<float>(std::log(sum));
  for (float& x : scores) x = x - max - log_sum;
}

std::vector<TokenLogProb> MostLikely(absl::Span<const float> log_probs, int count) {
  std::vector<int32_t> order(log_probs.size());
  std::iota(order.begin(), order.end(), 0);
  const size_t n = std::min(order.size(), static_cast<size_t>(count));
  std::partial_sort(order.begin(), order.begin() + n, order.end(), [&](int32_t a, int32_t b) {
    return log_probs[a] != log_probs[b] ? log_probs[a] > log_probs[b] : a < b;
  });
  std::vector<TokenLogProb> best;
  for (size_t i = 0; i < n; ++i) best.push_back({order[i], log_probs[order[i]]});
  return best;
}

void Sampler::Penalize(absl::Span<const int32_t> before, absl::Span<const int32_t> after, double penalty,
                       absl::Span<float> scores) {
  ++call_;
  const float p = static_cast<float>(penalty);
  for (const absl::Span<const int32_t> tokens : {before, after}) {
    for (const int32_t token : tokens) {
      if (seen_[token] == call_) continue;
      seen_[token] = call_;
      float& score = scores[token];
      score = score < 0 ? score * p : score / p;
    }
  }
}

int32_t Sampler::Draw(const Sampling& sampling, uint64_t step, absl::Span<float> logits) {
  const float temperature = static_cast<float>(sampling.temperature);
  for (float& x : logits) x /= temperature;
  order_.resize(logits.size());
  std::iota(order_.begin(), order_.end(), 0);
  const auto larger = [&](int32_t a, int32_t b) { return logits[a] != logits[b] ? logits[a] > logits[b] : a < b; };
  size_t kept = order_.size();
  if (sampling.top_k > 0 && static_cast<size_t>(sampling.top_k) < kept) {
    kept = sampling.top_k;
    std::nth_element(order_.begin(), order_.begin() + kept - 1, order_.end(), larger);
    const float least = logits[order_[kept - 1]];
    const auto end =
        std::partition(order_.begin() + kept, order_.end(), [&](int32_t token) { return logits[token] >= least; });
    kept = end - order_.begin();
  }
  if (sampling.top_p < 1) {
    std::sort(order_.begin(), order_.begin() + kept, larger);
  } else {
    // The draw walks through the tokens, so their order must not depend on the selection.
    std::sort(order_.begin(), order_.begin() + kept);
  }
  const float max = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (size_t i = 0; i < kept; ++i) {
    float& x = logits[order_[i]];
    x = std::exp(x - max);
    sum += x;
  }
  if (sampling.top_p < 1) {
    double reached = 0;
    size_t n = 0;
    while (n < kept && reached < sampling.top_p * sum) reached += logits[order_[n++]];
    kept = std::max<size_t>(n, 1);
    sum = reached;
  }
  const auto words = Philox4x32(sampling.seed, step, sampling.sample);
  const uint64_t bits = (uint64_t{words[1]} << 32) | words[0];
  double left = static_cast<double>(bits >> 11) * 0x1.0p-53 * sum;
  for (size_t i = 0; i < kept; ++i) {
    left -= logits[order_[i]];
    if (left < 0) return order_[i];
  }
  return order_[kept - 1];
}

}  // namespace merganser
