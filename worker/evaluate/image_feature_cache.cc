#include "worker/evaluate/image_feature_cache.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/clock.h"
#include "common/base/status_macros.h"
#include "worker/vision/image.h"
#include "worker/vision/image_processor.h"

namespace merganser {
namespace {

bool AllHalves(const std::vector<float>& values) {
  return std::all_of(values.begin(), values.end(), [](float v) { return (std::bit_cast<uint32_t>(v) & 0xffff) == 0; });
}

}  // namespace

absl::StatusOr<std::unique_ptr<ImageFeatureCache>> ImageFeatureCache::Create(
    const std::shared_ptr<const Checkpoint>& checkpoint, const std::string& device, int64_t bytes_max) {
  MG_ASSIGN_OR_RETURN(auto vision, VisionModel::Load(checkpoint, device));
  return std::unique_ptr<ImageFeatureCache>(new ImageFeatureCache(std::move(vision), bytes_max));
}

absl::StatusOr<int64_t> ImageFeatureCache::BytesMax() {
  constexpr char kVariable[] = "MERGANSER_IMAGE_CACHE_MIB";
  constexpr int64_t kMibMax = int64_t{1} << 30;
  const char* const text = std::getenv(kVariable);
  int64_t mib = 4096;
  if (text != nullptr && (!absl::SimpleAtoi(text, &mib) || mib < 0 || mib > kMibMax)) {
    return absl::InvalidArgumentError(absl::StrCat(kVariable, ": '", text, "' is not in [0, ", kMibMax, "]"));
  }
  return mib << 20;
}

absl::StatusOr<ImageFeatures> ImageFeatureCache::Encode(const std::string& path) {
  const absl::Duration start = Clock::Real().Monotonic();
  const auto encode = [&]() -> absl::StatusOr<ImageFeatures> {
    MG_ASSIGN_OR_RETURN(const Image image, ReadImage(path));
    absl::StatusOr<PixelValues> pixels = ProcessImage(image, vision_->processor());
    if (!pixels.ok()) return Annotate(pixels.status(), path);
    absl::StatusOr<ImageFeatures> features = vision_->Encode(*pixels);
    if (!features.ok()) return Annotate(features.status(), path);
    return features;
  };
  absl::StatusOr<ImageFeatures> features = encode();
  seconds_ += absl::ToDoubleSeconds(Clock::Real().Monotonic() - start);
  ++encoded_;
  return features;
}

absl::StatusOr<std::shared_ptr<const ImageFeatures>> ImageFeatureCache::Get(const std::string& path) {
  const auto found = kept_.find(path);
  if (found != kept_.end() && found->second.full != nullptr) return found->second.full;
  if (found != kept_.end() && !found->second.halves.empty()) {
    auto wide = std::make_shared<ImageFeatures>();
    wide->rows = found->second.rows;
    wide->width = width_;
    for (const uint16_t half : found->second.halves) {
      wide->values.push_back(std::bit_cast<float>(static_cast<uint32_t>(half) << 16));
    }
    return wide;
  }
  MG_ASSIGN_OR_RETURN(ImageFeatures encoded, Encode(path));
  const auto features = std::make_shared<const ImageFeatures>(std::move(encoded));
  width_ = features->width;
  Kept& kept = kept_[path];
  kept.rows = features->rows;
  const bool halves = AllHalves(features->values);
  const auto bytes = static_cast<int64_t>(features->values.size()) * (halves ? 2 : 4);
  if (bytes_ + bytes > bytes_max_) return features;
  bytes_ += bytes;
  if (!halves) {
    kept.full = features;
    return features;
  }
  for (const float value : features->values) {
    kept.halves.push_back(static_cast<uint16_t>(std::bit_cast<uint32_t>(value) >> 16));
  }
  return features;
}

absl::StatusOr<int> ImageFeatureCache::Rows(const std::string& path) {
  const auto found = kept_.find(path);
  if (found != kept_.end()) return found->second.rows;
  MG_ASSIGN_OR_RETURN(const auto features, Get(path));
  return features->rows;
}

}  // namespace merganser
