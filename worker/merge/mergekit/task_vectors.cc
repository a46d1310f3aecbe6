#include <algorithm>
#include <cmath>
#include <numeric>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "worker/merge/magnitude_index.h"
#include "worker/merge/mergekit/kernels.h"

namespace merganser::mergekit {
namespace {

using Statistic = MergeMethod::Statistic;

// d *= mask; and, if `rescale`, *= |d|_1 / |masked d|_1.
void Mask(const std::vector<bool>& mask, bool rescale, const Rounded& round, RoundedValues& d) {
  constexpr float kNormMin = 1e-7f;
  const float before = round.SumOfMagnitudes(d);
  for (size_t i = 0; i < d.size(); ++i) d[i] = mask[i] ? d[i] : 0.0f;
  if (!rescale) return;
  const float after = round.SumOfMagnitudes(d);
  if (before < kNormMin || after < kNormMin) return;
  const float scale = round(before / after);
  round.Each(d, [scale](float value) { return value * scale; });
}

// Positions [first, end) of the descending order of magnitudes.
std::vector<bool> Band(const RoundedValues& d, int64_t first, int64_t end) {
  const std::vector<int64_t> order = ByMagnitude(d);
  std::vector<bool> mask(d.size());
  for (int64_t i = first; i < end; ++i) mask[order[i]] = true;
  return mask;
}

// Ascending ranks from 1 on within each row along dimension 1, equal magnitudes by index; in `round`'s type, which in bf16
// is too coarse for ranks above 256.
RoundedValues Ranks(const RoundedValues& d, const std::vector<int64_t>& shape, int64_t& row, const Rounded& round) {
  row = shape.size() < 2 ? static_cast<int64_t>(d.size()) : shape[1];
  int64_t inner = 1;
  for (size_t i = 2; i < shape.size(); ++i) inner *= shape[i];
  RoundedValues ranks(d.size());
  std::vector<int64_t> order(row);
  const int64_t rows = row == 0 ? 0 : static_cast<int64_t>(d.size()) / row;
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t start = r / inner * row * inner + r % inner;
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
      return std::fabs(d[start + a * inner]) < std::fabs(d[start + b * inner]);
    });
    for (int64_t i = 0; i < row; ++i) {
      ranks[start + order[i] * inner] = round(round(static_cast<float>(i)) + 1);
    }
  }
  return ranks;
}

absl::Status MaskByRank(double density, double epsilon, const std::vector<int64_t>& shape, bool rescale, const Rounded& type,
                        TorchRandom& random, RoundedValues& d) {
  // fp16 is computed in fp32 here.
  const Rounded round(type.dtype() == DType::kF16 ? DType::kF32 : type.dtype());
  int64_t row = 0;
  const RoundedValues ranks = Ranks(d, shape, row, round);
  if (row == 1) return absl::InvalidArgumentError("mergekit's della cannot rank rows of one element");
  const float last = round(round(static_cast<float>(row - 1)) + 1);
  const float span = round(last - 1);
  // torch rounds a number that is added to a tensor to its type, one that multiplies it not.
  const float low = round(density - epsilon), width = static_cast<float>(epsilon);
  std::vector<bool> mask(d.size());
  for (size_t i = 0; i < d.size(); ++i) {
    const float place = std::clamp(round(round(ranks[i] - 1) / span), 0.0f, 1.0f);
    mask[i] = random.Bernoulli(round(round(round(place * 2) * width) + low));
  }
  Mask(mask, rescale, round, d);
  type.All(d);
  return absl::OkStatus();
}

absl::Status Sparsify(const MergeMethod& method, const MergeSettings& settings, int source,
                      const std::vector<int64_t>& shape, const Rounded& round, TorchRandom& random, RoundedValues& d) {
  const double density = settings.densities[source];
  const int64_t count = static_cast<int64_t>(d.size());
  if (density >= 1) return absl::OkStatus();
  switch (method.statistic()) {
    case Statistic::kMagnitudeCut:
      if (density > 0 && count > 0) {
        Mask(Band(d, 0, MagnitudeIndex::KeptCount(density, count)), settings.rescale, round, d);
      } else {
        std::fill(d.begin(), d.end(), 0.0f);
      }
      return absl::OkStatus();
    case Statistic::kMagnitudeBand: {
      const int64_t kept = static_cast<int64_t>(density * static_cast<double>(count));
      const int64_t largest = static_cast<int64_t>(settings.Get("gamma", source) * static_cast<double>(count));
      const int64_t end = count - std::max<int64_t>(0, count - kept - largest);
      Mask(Band(d, end - kept, end), settings.rescale, round, d);
      return absl::OkStatus();
    }
    case Statistic::kRandomMask: {
      const Rounded work(round.dtype() == DType::kF16 ? DType::kF32 : round.dtype());
      const float probability = work(density);
      std::vector<bool> mask(count);
      for (int64_t i = 0; i < count; ++i) mask[i] = random.Bernoulli(probability);
      Mask(mask, settings.rescale, work, d);
      round.All(d);
      return absl::OkStatus();
    }
    case Statistic::kRankedMask:
      if (density > 0) {
        return MaskByRank(density, settings.Get("epsilon", source), shape, settings.rescale, round, random, d);
      }
      std::fill(d.begin(), d.end(), 0.0f);
      return absl::OkStatus();
    default:
      return absl::OkStatus();  // task_arithmetic
  }
}

}  // namespace

Result TaskVectors(const MergeMethod& method, const MergeSettings& settings, MergekitInput& in, const Rounded& round,
                   TorchRandom& random) {
  const bool by_sign = method.name() == "ties" || method.name() == "dare_ties" || method.name() == "della" ||
                       method.name() == "breadcrumbs_ties";
  const size_t count = in.base.size();
  std::vector<float> weights;
  for (size_t s = 0; s < in.sources.size(); ++s) {
    RoundedValues& d = in.sources[s];
    SubtractBase(in.base, round, d);
    const absl::Status sparse = Sparsify(method, settings, static_cast<int>(s), in.shape, round, random, d);
    if (!sparse.ok()) return sparse;
    const float weight = weights.emplace_back(round(settings.weights[s]));
    round.Each(d, [weight](float value) { return value * weight; });
  }
  RoundedValues divisor(count);
  if (by_sign) {
    const std::vector<std::vector<bool>> agrees = AgreeingWithMajority(in.sources, round);
    for (size_t s = 0; s < in.sources.size(); ++s) {
      for (size_t i = 0; i < count; ++i) {
        if (!agrees[s][i]) in.sources[s][i] = 0;
        divisor[i] += agrees[s][i] ? weights[s] : 0.0f;
      }
    }
    round.Each(divisor, [](float value) { return value == 0 ? 1.0f : value; });
  } else {
    float total = 0;
    for (const float weight : weights) total += weight;
    total = round(total);
    std::fill(divisor.begin(), divisor.end(), std::fabs(total) < 1e-8f ? 1.0f : total);
  }
  RoundedValues merged = SumOver(in.sources, round);
  if (settings.normalize)
    round.Each(
        merged, [](float d, float z) { return d / z; }, divisor);
  const float lambda = static_cast<float>(settings.lambda);
  if (lambda != 1) round.Each(merged, [lambda](float d) { return d * lambda; });
  round.Each(
      merged, [](float d, float b) { return b + d; }, in.base);
  return merged;
}

}  // namespace merganser::mergekit
