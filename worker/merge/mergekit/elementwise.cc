#include <algorithm>
#include <cmath>

#include "worker/merge/mergekit/kernels.h"

namespace merganser::mergekit {

Result Linear(const MergeSettings& settings, MergekitInput& in, const Rounded& round) {
  // In fp32 whatever the type, rounded at the end; torch's addcmul fuses its multiply-add.
  RoundedValues sum(in.count());
  float total = 0;
  for (size_t s = 0; s < in.sources.size(); ++s) {
    const float weight = static_cast<float>(settings.weights[s]);
    total += weight;
    for (size_t i = 0; i < sum.size(); ++i) sum[i] = std::fma(in.sources[s][i], weight, sum[i]);
  }
  for (float& value : sum) value = settings.normalize ? value / total : value;
  round.All(sum);
  return sum;
}

Result Sce(const MergeSettings& settings, MergekitInput& in, const Rounded& round) {
  const size_t sources = in.sources.size(), count = in.base.size();
  for (RoundedValues& d : in.sources) SubtractBase(in.base, round, d);
  const double topk = settings.Get("select_topk");
  if (topk < 1) {
    RoundedValues variance(count);
    std::vector<const float*> blocks;
    for (const RoundedValues& d : in.sources) blocks.push_back(d.data());
    Variance(blocks.data(), static_cast<int>(sources), static_cast<int64_t>(count), variance.data());
    round.All(variance);
    const auto nonzero = std::count_if(variance.begin(), variance.end(), [](float v) { return v != 0; });
    // torch multiplies the count in fp32.
    const int64_t kept = static_cast<int64_t>(static_cast<float>(nonzero) * static_cast<float>(topk));
    const std::vector<int64_t> order = ByMagnitude(variance);
    for (RoundedValues& d : in.sources) {
      for (size_t i = static_cast<size_t>(kept); i < count; ++i) d[order[i]] = 0;
    }
  }
  const std::vector<std::vector<bool>> agrees = AgreeingWithMajority(in.sources, round);
  std::vector<float> weights;
  for (const RoundedValues& d : in.sources) {
    RoundedValues squares = d;
    round.Each(squares, [](float value) { return value * value; });
    double sum = 0;
    for (const float value : squares) sum += value;
    weights.push_back(round(sum / static_cast<double>(count)));
  }
  float total = 0;
  for (const float weight : weights) total += weight;
  total = round(total);
  for (float& weight : weights)
    weight = std::fabs(total) < 1e-6f ? round(1.0f / static_cast<float>(sources)) : round(weight / total);
  RoundedValues divisor(count);
  for (size_t s = 0; s < sources; ++s) {
    for (size_t i = 0; i < count; ++i) {
      const float own = agrees[s][i] ? weights[s] : 0.0f;
      divisor[i] += own;
      in.sources[s][i] *= own;
    }
    round.All(in.sources[s]);
  }
  const float least = round(1e-6f);
  round.All(divisor);
  RoundedValues merged = SumOver(in.sources, round);
  round.Each(
      merged, [least](float d, float z) { return d / std::max(z, least); }, divisor);
  round.Each(
      merged, [](float d, float b) { return b + d; }, in.base);
  return merged;
}

namespace {

// Element by element how many task vectors are above `epsilon`.
std::vector<int> Having(const std::vector<RoundedValues>& task_vectors, float epsilon) {
  std::vector<int> having(task_vectors[0].size());
  for (const RoundedValues& d : task_vectors) {
    for (size_t i = 0; i < d.size(); ++i) having[i] += std::fabs(d[i]) > epsilon;
  }
  return having;
}

// base + sum of the parts, parts and sums rounded by `round`.
RoundedValues OwnAndShared(MergekitInput& in, const std::vector<int>& having, const std::vector<float>& own, float epsilon,
                           const Rounded& shared_type, const Rounded& round) {
  for (size_t s = 0; s < in.sources.size(); ++s) {
    RoundedValues& d = in.sources[s];
    for (size_t i = 0; i < d.size(); ++i) {
      if (std::fabs(d[i]) <= epsilon) {
        d[i] = 0;
      } else {
        d[i] = having[i] > 1 ? shared_type(d[i] / shared_type(static_cast<float>(having[i]))) : d[i] * own[s];
      }
    }
    round.All(d);
  }
  RoundedValues merged = SumOver(in.sources, round);
  round.Each(
      merged, [](float d, float b) { return b + d; }, in.base);
  return merged;
}

}  // namespace

Result Ram(const MergeSettings& settings, MergekitInput& in, const Rounded& round) {
  for (RoundedValues& d : in.sources) SubtractBase(in.base, round, d);
  const float epsilon = round(settings.Get("epsilon"));
  const std::vector<float> own(in.sources.size(), 1.0f);
  return OwnAndShared(in, Having(in.sources, epsilon), own, epsilon, round, round);
}

Result RamplusTl(const MergeSettings& settings, MergekitInput& in, const Rounded& round) {
  for (RoundedValues& d : in.sources) SubtractBase(in.base, round, d);
  const float epsilon = round(settings.Get("epsilon"));
  const std::vector<int> having = Having(in.sources, epsilon);
  std::vector<float> own;
  for (const RoundedValues& d : in.sources) {
    int64_t shared = 0, alone = 0;
    for (size_t i = 0; i < d.size(); ++i) {
      if (std::fabs(d[i]) > epsilon) ++(having[i] > 1 ? shared : alone);
    }
    const float share =
        static_cast<float>(shared) / std::max(static_cast<float>(alone), static_cast<float>(settings.Get("epsilon")));
    own.push_back(1 + static_cast<float>(settings.Get("r")) *
                          std::clamp(share, 0.0f, static_cast<float>(settings.Get("alpha"))));
  }
  // torch promotes what is multiplied by these factors to fp32.
  RoundedValues merged = OwnAndShared(in, having, own, epsilon, round, Rounded(DType::kF32));
  round.All(merged);
  return merged;
}

Result Nearswap(const MergeSettings& settings, MergekitInput& in, const Rounded& round) {
  const float t = static_cast<float>(settings.Get("t")), least = round(1e-6f);
  RoundedValues& x = in.sources[0];
  for (size_t i = 0; i < x.size(); ++i) {
    const float base = in.base[i];
    const float distance = std::max(round(std::fabs(round(base - x[i]))), least);
    // A number divided by a tensor is its reciprocal times that number.
    const float weight = std::clamp(round(round(1 / distance) * t), 0.0f, 1.0f);
    x[i] = round(round(weight * x[i]) + round(round(1 - weight) * base));
  }
  return x;
}

Result ArceeFusion(const MergeSettings&, MergekitInput& in, const Rounded& round) {
  const RoundedValues& base = in.base;
  RoundedValues& x = in.sources[0];
  const size_t count = x.size();
  if (count == 0) return x;
  const size_t row = in.shape.empty() ? 1 : static_cast<size_t>(in.shape.back());
  const auto softmax = [&](const RoundedValues& values, size_t start) {
    RoundedValues p(row);
    const float top = *std::max_element(values.begin() + start, values.begin() + start + row);
    double sum = 0;
    for (size_t i = 0; i < row; ++i) sum += p[i] = std::exp(values[start + i] - top);
    round.Each(p, [sum](float value) { return static_cast<float>(value / sum); });
    round.Each(p, [](float value) { return value + 1e-8f; });
    return p;
  };
  RoundedValues scores(count);
  for (size_t start = 0; start < count; start += row) {
    RoundedValues terms = softmax(x, start);
    const RoundedValues q = softmax(base, start);
    for (size_t i = 0; i < row; ++i) terms[i] = round(terms[i] * round(std::log(round(terms[i] / q[i]))));
    const float divergence = round.Sum(terms);
    for (size_t i = start; i < start + row; ++i) scores[i] = round(round(std::fabs(round(x[i] - base[i]))) * divergence);
  }
  RoundedValues sorted = scores;
  std::sort(sorted.begin(), sorted.end());
  const auto at = [&](float quarter) { return sorted[static_cast<size_t>(quarter * static_cast<float>(count - 1))]; };
  const float threshold = round(at(0.5f) + round(1.5f * round(at(0.75f) - at(0.25f))));
  for (size_t i = 0; i < count; ++i) x[i] = scores[i] >= threshold ? base[i] + round(x[i] - base[i]) : base[i];
  round.All(x);
  return x;
}

Result Passthrough(const MergeSettings& settings, MergekitInput& in, const Rounded& round) {
  const float scale = static_cast<float>(settings.Get("scale", 0));
  round.Each(in.sources[0], [scale](float value) { return value * scale; });
  return in.sources[0];
}

}  // namespace merganser::mergekit
