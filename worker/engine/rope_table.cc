#include "worker/engine/rope_table.h"

#include <cmath>
#include <numbers>

#include "absl/strings/str_cat.h"

namespace merganser {
namespace {

// Llama 3.1: long wavelengths are stretched by `factor`, short ones kept, those between blended.
double Llama3Frequency(double frequency, const RopeScaling& scaling) {
  const double context = static_cast<double>(scaling.original_max_position_embeddings);
  const double wavelength = 2.0 * std::numbers::pi / frequency;
  if (wavelength > context / scaling.low_freq_factor) return frequency / scaling.factor;
  if (wavelength < context / scaling.high_freq_factor) return frequency;
  const double smooth = (context / wavelength - scaling.low_freq_factor) /
                        (scaling.high_freq_factor - scaling.low_freq_factor);
  return (1.0 - smooth) * frequency / scaling.factor + smooth * frequency;
}

}  // namespace

absl::StatusOr<RopeTable> MakeRopeTable(const ModelConfig& config, int64_t positions) {
  const RopeScaling& scaling = config.rope_scaling;
  if (scaling.type == RopeType::kDynamic || scaling.type == RopeType::kYarn) {
    return absl::UnimplementedError(
        absl::StrCat("rope scaling '", RopeTypeName(scaling.type),
                     "' is not supported by the engine (default, linear, llama3 are)"));
  }
  RopeTable table;
  table.half = config.head_dim / 2;
  table.cos.resize(positions * table.half);
  table.sin.resize(positions * table.half);
  for (int64_t i = 0; i < table.half; ++i) {
    double frequency = 1.0 / std::pow(config.rope_theta, 2.0 * i / config.head_dim);
    if (scaling.type == RopeType::kLinear) frequency /= scaling.factor;
    if (scaling.type == RopeType::kLlama3) frequency = Llama3Frequency(frequency, scaling);
    // The angle is an fp32 product in transformers, and at large positions that rounding is
    // visible.
    const float step = static_cast<float>(frequency);
    for (int64_t p = 0; p < positions; ++p) {
      const double angle = static_cast<float>(p) * step;
      table.cos[p * table.half + i] = static_cast<float>(std::cos(angle));
      table.sin[p * table.half + i] = static_cast<float>(std::sin(angle));
    }
  }
  return table;
}

}  // namespace merganser
