#include "coordinator/replay/front_volume.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>

#include "absl/strings/str_cat.h"
#include "common/base/rng.h"
#include "coordinator/optimizer/hypervolume.h"

namespace merganser {
namespace {

// Some seconds each.
constexpr int64_t kVolumeSteps = 1'000'000'000;
constexpr int64_t kIntervalSteps = 1'000'000'000;

// How often resampling `resampling` of the `count` samples has drawn each.
std::vector<double> DrawCounts(const std::string& samples_of, size_t count, int resampling) {
  Rng rng(StableHash64(absl::StrCat("front/bootstrap ", samples_of)), static_cast<uint64_t>(resampling));
  std::vector<double> drawn(count, 0.0);
  for (size_t i = 0; i < count; ++i) ++drawn[rng.NextU64() % count];
  return drawn;
}

}  // namespace

FitnessVector VolumeReference(size_t objectives, const std::vector<FitnessVector>& points) {
  FitnessVector reference(objectives, 0.0);
  for (const FitnessVector& point : points) {
    if (point.size() != objectives) continue;
    for (size_t i = 0; i < objectives; ++i) {
      if (std::isfinite(point[i])) reference[i] = std::min(reference[i], point[i]);
    }
  }
  for (double& r : reference) r *= 1.1;
  return reference;
}

std::optional<double> FrontVolume(const std::vector<std::vector<FrontValue>>& front, const FitnessVector& reference) {
  std::vector<FitnessVector> points;
  for (const auto& values : front) {
    FitnessVector point;
    for (const FrontValue& v : values) point.push_back(v.value);
    points.push_back(std::move(point));
  }
  int64_t steps = kVolumeSteps;
  return HypervolumeWithin(points, reference, &steps);
}

std::optional<VolumeInterval> FrontVolumeInterval(const std::vector<std::vector<FrontValue>>& front,
                                                  const FitnessVector& reference) {
  int64_t steps = kIntervalSteps;
  std::vector<double> volumes;
  for (int r = 0; r < kFrontResamplings; ++r) {
    std::map<std::string, std::vector<double>> drawn;
    std::vector<FitnessVector> points;
    for (const auto& values : front) {
      FitnessVector point;
      for (const FrontValue& v : values) {
        point.push_back(v.value);
        if (v.samples.empty()) continue;
        std::vector<double>& counts = drawn[v.samples_of];
        if (counts.size() != v.samples.size()) counts = DrawCounts(v.samples_of, v.samples.size(), r);
        double sum = 0;
        for (size_t i = 0; i < counts.size(); ++i) sum += counts[i] * v.samples[i];
        point.back() = sum / static_cast<double>(counts.size());
        steps -= static_cast<int64_t>(counts.size());
      }
      points.push_back(std::move(point));
    }
    const std::optional<double> volume = HypervolumeWithin(points, reference, &steps);
    if (!volume) return std::nullopt;
    volumes.push_back(*volume);
  }
  std::sort(volumes.begin(), volumes.end());
  constexpr size_t kTail = kFrontResamplings / 40;
  return VolumeInterval{volumes[kTail], volumes[kFrontResamplings - 1 - kTail]};
}

}  // namespace merganser
