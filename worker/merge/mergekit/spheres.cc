#include <algorithm>
#include <cmath>

#include "absl/status/status.h"
#include "worker/merge/mergekit/kernels.h"
#include "worker/merge/products.h"

namespace merganser::mergekit {
namespace {

// Elements of one vector of a tensor (products.h), gathered and put back.
RoundedValues Gather(const RoundedValues& x, const VectorShape& shape, int64_t vector) {
  RoundedValues own(shape.length);
  for (int64_t i = 0; i < shape.length; ++i) {
    own[i] = x[shape.scope == VectorScope::kFirstDimension ? i * shape.vectors + vector : vector * shape.length + i];
  }
  return own;
}

void Scatter(const RoundedValues& own, const VectorShape& shape, int64_t vector, RoundedValues& x) {
  for (int64_t i = 0; i < shape.length; ++i) {
    x[shape.scope == VectorScope::kFirstDimension ? i * shape.vectors + vector : vector * shape.length + i] = own[i];
  }
}

float Dot(const RoundedValues& x, const RoundedValues& y, const Rounded& round) {
  RoundedValues products = x;
  round.Each(
      products, [](float a, float b) { return a * b; }, y);
  return round.Sum(products);
}

RoundedValues Scaled(RoundedValues x, float factor, const Rounded& round) {
  round.Each(x, [factor](float value) { return value * factor; });
  return x;
}

RoundedValues Divided(RoundedValues x, float divisor, const Rounded& round) {
  round.Each(x, [divisor](float value) { return value / divisor; });
  return x;
}

void Add(const RoundedValues& y, const Rounded& round, RoundedValues& x) {
  round.Each(
      x, [](float a, float b) { return a + b; }, y);
}

}  // namespace

Result Slerp(const MergeSettings& settings, MergekitInput& in, const Rounded& round) {
  // In fp32 whatever the type, rounded at the end.
  const Rounded wide(DType::kF32);
  RoundedValues& a = in.base;
  const RoundedValues& b = in.sources[0];
  const auto length = [&](const RoundedValues& x) {
    const float norm = wide.Norm(x);
    return norm > 1e-8f ? norm : 1.0f;
  };
  const float t = static_cast<float>(settings.Get("t"));
  const float cosine = std::clamp(Dot(Divided(a, length(a), wide), Divided(b, length(b), wide), wide), -1.0f, 1.0f);
  float of_a = 1 - t, of_b = t;
  if (std::fabs(cosine) <= 0.9995f) {
    const float angle = std::acos(cosine), sine = std::sin(angle);
    of_a = std::sin((1 - t) * angle) / sine;
    of_b = std::sin(t * angle) / sine;
  }
  for (size_t i = 0; i < a.size(); ++i) a[i] = of_a * a[i] + of_b * b[i];
  round.All(a);
  return a;
}

Result Nuslerp(const MergeSettings& settings, MergekitInput& in, const Rounded& round) {
  if (in.has_base) {
    for (RoundedValues& x : in.sources) SubtractBase(in.base, round, x);
  }
  const double total = settings.weights[0] + settings.weights[1];
  const double t = std::fabs(total) < 1e-6 ? 0.5 : settings.weights[1] / total;
  const float far = static_cast<float>(1 - t), near = static_cast<float>(t);
  const VectorScope scope = settings.Get("nuslerp_flatten") != 0    ? VectorScope::kTensor
                            : settings.Get("nuslerp_row_wise") != 0 ? VectorScope::kFirstDimension
                                                                    : VectorScope::kLastDimension;
  const VectorShape shape = VectorShape::For(scope, in.shape);
  const float least = round(1e-7f);
  for (int64_t v = 0; v < shape.vectors; ++v) {
    RoundedValues a = Gather(in.sources[0], shape, v);
    const RoundedValues b = Gather(in.sources[1], shape, v);
    const RoundedValues unit_a = Divided(a, std::max(round.Norm(a), least), round);
    const RoundedValues unit_b = Divided(b, std::max(round.Norm(b), least), round);
    const float cosine = std::clamp(Dot(unit_a, unit_b, round), -1.0f, 1.0f);
    const bool straight = round(1 - round(cosine * cosine)) <= 1e-16f;
    const float angle = round(std::acos(cosine)), sine = round(std::sin(angle));
    const float of_a = round(std::sin(round(far * angle))), of_b = round(std::sin(round(near * angle)));
    for (size_t i = 0; i < a.size(); ++i) {
      a[i] = straight ? round(round(far * a[i]) + round(near * b[i]))
                      : round(round(round(of_a * a[i]) + round(of_b * b[i])) / sine);
    }
    Scatter(a, shape, v, in.sources[0]);
  }
  if (in.has_base) Add(in.base, round, in.sources[0]);
  return in.sources[0];
}

Result Multislerp(const MergeSettings& settings, MergekitInput& in, const Rounded& round) {
  const size_t n = in.sources.size();
  if (n == 1) return in.sources[0];
  if (in.has_base) {
    for (RoundedValues& x : in.sources) SubtractBase(in.base, round, x);
  }
  const float eps = static_cast<float>(settings.Get("eps"));
  std::vector<float> weights;
  float total = 0;
  for (const double weight : settings.weights) total += weights.emplace_back(round(weight));
  total = round(total);
  if (settings.Get("normalize_weights") != 0) {
    for (float& weight : weights) weight = round(weight / total);
  }
  std::vector<float> norms;
  std::vector<RoundedValues> units, parts;
  for (size_t s = 0; s < n; ++s) {
    norms.push_back(round.Norm(in.sources[s]));
    units.push_back(Divided(in.sources[s], round(norms[s] + eps), round));
    parts.push_back(Scaled(units[s], weights[s], round));
  }
  RoundedValues mean = SumOver(parts, round);
  const float middle = round.Norm(mean);
  RoundedValues merged;
  if (middle < eps) {
    if (n != 2)
      return absl::InvalidArgumentError("the weighted directions of the sources cancel out, so multislerp has no middle");
    merged = Scaled(in.sources[0], weights[0], round);
    Add(Scaled(in.sources[1], weights[1], round), round, merged);
  } else {
    mean = Divided(mean, middle, round);
    for (size_t s = 0; s < n; ++s) {
      const float dot = Dot(units[s], mean, round);
      parts[s] = units[s];
      round.Each(
          parts[s], [&](float u, float m) { return u - round(dot * m); }, mean);
      parts[s] = Scaled(parts[s], weights[s], round);
    }
    RoundedValues tangent = SumOver(parts, round);
    const float r = round(round.Norm(tangent) + eps);
    merged = Scaled(mean, round(std::cos(r)), round);
    Add(Scaled(tangent, round(round(std::sin(r)) / r), round), round, merged);
    float length = 0;
    for (size_t s = 0; s < n; ++s) length += round(norms[s] * weights[s]);
    merged = Scaled(merged, round(length), round);
  }
  if (in.has_base) Add(in.base, round, merged);
  return merged;
}

Result Karcher(const MergeSettings& settings, MergekitInput& in, const Rounded& round) {
  const size_t n = in.sources.size();
  if (n == 1) return in.sources[0];
  const Rounded wide(DType::kF32);
  const float tol = static_cast<float>(settings.Get("tol"));
  std::vector<RoundedValues> units;
  float length = 0;
  for (const RoundedValues& x : in.sources) {
    const float norm = wide.Norm(x);
    length += static_cast<float>(1.0 / static_cast<double>(n)) * norm;
    if (norm > tol) units.push_back(Divided(x, norm, round));
  }
  if (units.empty()) return RoundedValues(in.sources[0].size());
  const float share = static_cast<float>(1.0 / static_cast<double>(units.size()));
  RoundedValues mean(in.sources[0].size());
  for (const RoundedValues& unit : units) Add(Scaled(unit, share, round), round, mean);
  const float middle = wide.Norm(mean);
  mean = middle < tol ? units[0] : Divided(mean, middle, round);
  for (int step = 0; step < static_cast<int>(settings.Get("max_iter")); ++step) {
    RoundedValues tangent(mean.size());
    for (const RoundedValues& unit : units) {
      double sum = 0;
      for (size_t i = 0; i < mean.size(); ++i) sum += static_cast<double>(mean[i]) * unit[i];
      const float cosine = std::clamp(round(sum), -1.0f, 1.0f);
      const float angle = round(std::acos(cosine));
      if (angle < tol) continue;
      const float scale = round(share * round(angle / round(std::sin(angle))));
      for (size_t i = 0; i < mean.size(); ++i) {
        tangent[i] = round(tangent[i] + round(scale * round(unit[i] - round(cosine * mean[i]))));
      }
    }
    const float reach = wide.Norm(tangent);
    if (reach < tol) break;
    // torch rounds a number that stands before the tensor to its type, one behind it not.
    const float along = round(std::cos(reach)), across = round(std::sin(reach));
    for (size_t i = 0; i < mean.size(); ++i) {
      mean[i] = round(round(along * mean[i]) + round(across * round(tangent[i] / reach)));
    }
    const float norm = wide.Norm(mean);
    if (norm > tol) mean = Divided(mean, norm, round);
  }
  return Scaled(mean, round(length), round);
}

Result ModelStock(const MergeSettings& settings, MergekitInput& in, const Rounded& round) {
  const VectorScope scope = settings.Get("filter_wise") != 0 ? VectorScope::kLastDimension : VectorScope::kTensor;
  const VectorShape shape = VectorShape::For(scope, in.shape);
  const int n = static_cast<int>(in.sources.size());
  const float least = round(1e-6f);
  RoundedValues merged(in.base.size());
  for (int64_t v = 0; v < shape.vectors; ++v) {
    const RoundedValues base = Gather(in.base, shape, v);
    std::vector<RoundedValues> own, offsets;
    for (const RoundedValues& x : in.sources) {
      own.push_back(Gather(x, shape, v));
      SubtractBase(base, round, offsets.emplace_back(own.back()));
    }
    float cosines = 0;
    int pairs = 0;
    for (int i = 0; i < n; ++i) {
      for (int j = i + 1; j < n; ++j, ++pairs) {
        const float norms = std::max(round(round.Norm(offsets[i]) * round.Norm(offsets[j])), least);
        cosines += std::clamp(round(Dot(offsets[i], offsets[j], round) / norms), -1.0f, 1.0f);
      }
    }
    const float cosine = round(cosines / static_cast<float>(pairs));
    const float denominator = round(1 + round(static_cast<float>(n - 1) * cosine));
    const float t = std::fabs(denominator) < least ? 0 : round(round(static_cast<float>(n) * cosine) / denominator);
    RoundedValues mean = own[0];
    for (int s = 1; s < n; ++s) Add(own[s], round, mean);
    mean = Scaled(Divided(mean, static_cast<float>(n), round), t, round);
    Add(Scaled(base, round(1 - t), round), round, mean);
    Scatter(mean, shape, v, merged);
  }
  return merged;
}

}  // namespace merganser::mergekit
