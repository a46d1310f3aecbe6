#include "worker/engine/rope_table.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace merganser {
namespace {

// Llama 3.1: long wavelengths are stretched by `factor`, short ones kept, those between blended.
double Llama3Frequency(double frequency, const RopeScaling& scaling) {
  const double context = static_cast<double>(scaling.original_max_position_embeddings);
  const double wavelength = 2.0 * std::numbers::pi / frequency;
  if (wavelength > context / scaling.low_freq_factor) return frequency / scaling.factor;
  if (wavelength < context / scaling.high_freq_factor) return frequency;
  const double smooth =
      (context / wavelength - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor);
  return (1.0 - smooth) * frequency / scaling.factor + smooth * frequency;
}

// YaRN (Peng et al. 2023, eq. 20 to 23): dimensions that turn often are kept, those that turn less
// than once in the trained context are stretched, with a ramp between.
class YarnRamp {
 public:
  YarnRamp(const RopeConfig& rope, int64_t head_dim) {
    const RopeScaling& s = rope.scaling;
    const double dim = static_cast<double>(head_dim);
    const auto dimension = [&](double rotations) {
      const double turns = static_cast<double>(s.original_max_position_embeddings) / (rotations * 2.0 * std::numbers::pi);
      return dim * std::log(turns) / (2.0 * std::log(rope.theta));
    };
    low_ = dimension(s.beta_fast);
    high_ = dimension(s.beta_slow);
    if (s.truncate) {
      low_ = std::floor(low_);
      high_ = std::ceil(high_);
    }
    low_ = std::max(low_, 0.0);
    high_ = std::min(high_, dim - 1);
    if (low_ == high_) high_ += 0.001;
  }
  // How much of dimension pair `i` is stretched, in [0, 1].
  double Stretched(int64_t i) const { return std::clamp((static_cast<double>(i) - low_) / (high_ - low_), 0.0, 1.0); }

 private:
  double low_;
  double high_;
};

double YarnScale(double factor, double mscale) { return factor <= 1 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0; }

double AttentionFactor(const RopeScaling& s) {
  if (s.type != RopeType::kYarn && s.type != RopeType::kLongrope) return 1.0;
  if (s.attention_factor) return *s.attention_factor;
  if (s.type == RopeType::kLongrope) {
    const double context = static_cast<double>(s.original_max_position_embeddings);
    return s.factor <= 1 ? 1.0 : std::sqrt(1.0 + std::log(s.factor) / std::log(context));
  }
  if (s.mscale.value_or(0) != 0 && s.mscale_all_dim.value_or(0) != 0) {
    return YarnScale(s.factor, *s.mscale) / YarnScale(s.factor, *s.mscale_all_dim);
  }
  return YarnScale(s.factor, 1.0);
}

}  // namespace

RopeTable::RopeTable(const RopeConfig& rope, int64_t head_dim, int64_t max_position_embeddings, int64_t positions)
    : rope_(rope), head_dim_(head_dim), half_(head_dim / 2) {
  const RopeType type = rope.scaling.type;
  depends_on_context_ = type == RopeType::kDynamic || type == RopeType::kLongrope;
  short_context_ = type == RopeType::kLongrope ? rope.scaling.original_max_position_embeddings : max_position_embeddings;
  factor_ = static_cast<float>(AttentionFactor(rope.scaling));
  const int64_t short_positions = depends_on_context_ ? std::min(positions, short_context_) : positions;
  Fill(Frequencies(0), short_positions, cos_, sin_);
  if (type == RopeType::kLongrope && positions > short_context_) {
    Fill(Frequencies(positions), positions, long_cos_, long_sin_);
  }
}

std::vector<double> RopeTable::Frequencies(int64_t context) const {
  const RopeScaling& s = rope_.scaling;
  const double dim = static_cast<double>(head_dim_);
  double theta = rope_.theta;
  if (s.type == RopeType::kDynamic && context > short_context_) {
    const double stretched = s.factor * static_cast<double>(context) / static_cast<double>(short_context_);
    theta *= std::pow(stretched - (s.factor - 1), dim / (dim - 2));
  }
  std::vector<double> frequencies(half_);
  for (int64_t i = 0; i < half_; ++i) {
    double& frequency = frequencies[i];
    frequency = 1.0 / std::pow(theta, 2.0 * static_cast<double>(i) / dim);
    switch (s.type) {
      case RopeType::kLinear:
        frequency /= s.factor;
        break;
      case RopeType::kLlama3:
        frequency = Llama3Frequency(frequency, s);
        break;
      case RopeType::kYarn: {
        const double stretched = YarnRamp(rope_, head_dim_).Stretched(i);
        frequency = frequency / s.factor * stretched + frequency * (1 - stretched);
        break;
      }
      case RopeType::kLongrope:
        frequency /= context > short_context_ ? s.long_factor[i] : s.short_factor[i];
        break;
      default:
        break;
    }
  }
  return frequencies;
}

void RopeTable::Fill(const std::vector<double>& frequencies, int64_t positions, std::vector<float>& cos,
                     std::vector<float>& sin) const {
  cos.resize(positions * half_);
  sin.resize(positions * half_);
  for (int64_t i = 0; i < half_; ++i) {
    // The angle is an fp32 product in transformers, and at large positions that rounding is
    // visible.
    const float step = static_cast<float>(frequencies[i]);
    for (int64_t p = 0; p < positions; ++p) {
      const double angle = static_cast<float>(p) * step;
      cos[p * half_ + i] = static_cast<float>(std::cos(angle)) * factor_;
      sin[p * half_ + i] = static_cast<float>(std::sin(angle)) * factor_;
    }
  }
}

RopeTable::Row RopeTable::At(int64_t position, int64_t context, float* scratch) const {
  if (!depends_on_context_ || context <= short_context_) {
    return {cos_.data() + position * half_, sin_.data() + position * half_};
  }
  if (rope_.scaling.type == RopeType::kLongrope) {
    return {long_cos_.data() + position * half_, long_sin_.data() + position * half_};
  }
  const std::vector<double> frequencies = Frequencies(context);
  for (int64_t i = 0; i < half_; ++i) {
    const double angle = static_cast<float>(position) * static_cast<float>(frequencies[i]);
    scratch[i] = static_cast<float>(std::cos(angle));
    scratch[half_ + i] = static_cast<float>(std::sin(angle));
  }
  return {scratch, scratch + half_};
}

}  // namespace merganser
