#include "worker/evaluate/image_feature_cache.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/clock.h"
#include "common/base/files.h"
#include "common/base/sha256.h"
#include "common/base/status_macros.h"
#include "worker/vision/image_processor.h"

namespace merganser {
namespace {

bool AllHalves(const std::vector<float>& values) {
  return std::all_of(values.begin(), values.end(), [](float v) { return (std::bit_cast<uint32_t>(v) & 0xffff) == 0; });
}

}  // namespace

absl::StatusOr<std::unique_ptr<ImageFeatureCache>> ImageFeatureCache::Create(
    const std::shared_ptr<const Checkpoint>& checkpoint, const std::string& device, int64_t bytes_max, Keeping keeping) {
  MG_ASSIGN_OR_RETURN(auto vision, VisionModel::Load(checkpoint, device));
  return std::make_unique<ImageFeatureCache>(std::move(vision), checkpoint->dir(), bytes_max, keeping);
}

ImageFeatureCache::ImageFeatureCache(std::unique_ptr<VisionModel> vision, std::string side, int64_t bytes_max,
                                     Keeping keeping)
    : bytes_max_(bytes_max),
      keeping_(keeping),
      image_token_(vision->config().image_token_id),
      side_(std::move(side)),
      vision_(std::move(vision)) {}

absl::StatusOr<int64_t> ImageFeatureCache::BytesMax(int64_t otherwise_mib) {
  constexpr char kVariable[] = "MERGANSER_IMAGE_CACHE_MIB";
  constexpr int64_t kMibMax = int64_t{1} << 30;
  const char* const text = std::getenv(kVariable);
  int64_t mib = otherwise_mib;
  if (text != nullptr && (!absl::SimpleAtoi(text, &mib) || mib < 0 || mib > kMibMax)) {
    return absl::InvalidArgumentError(absl::StrCat(kVariable, ": '", text, "' is not in [0, ", kMibMax, "]"));
  }
  return mib << 20;
}

void ImageFeatureCache::Use(const std::string& side, bool lasting, LoadVision load) {
  load_ = std::move(load);
  if (side == side_) return;
  for (auto it = kept_.begin(); !lasting_ && it != kept_.end();) {
    const auto kept = it++;
    if (kept->first.first == side_) Drop(kept);
  }
  side_ = side;
  lasting_ = lasting;
  vision_.reset();
}

absl::Status ImageFeatureCache::Load() {
  if (vision_ != nullptr) return absl::OkStatus();
  MG_ASSIGN_OR_RETURN(vision_, load_());
  return absl::OkStatus();
}

absl::StatusOr<ImageFeatures> ImageFeatureCache::Encode(absl::string_view bytes, const std::string& name,
                                                        const ImageLimits& limits) {
  MG_RETURN_IF_ERROR(Load());
  const absl::Duration start = Clock::Real().Monotonic();
  const auto encode = [&]() -> absl::StatusOr<ImageFeatures> {
    MG_ASSIGN_OR_RETURN(const Image image, DecodeImage(bytes, name.empty() ? "picture" : name, limits));
    absl::StatusOr<ImageFeatures> features = EncodeImage(*vision_, image);
    if (!features.ok() && !name.empty()) return Annotate(features.status(), name);
    return features;
  };
  absl::StatusOr<ImageFeatures> features = encode();
  seconds_ += absl::ToDoubleSeconds(Clock::Real().Monotonic() - start);
  ++encoded_;
  return features;
}

std::shared_ptr<const ImageFeatures> ImageFeatureCache::Find(const std::string& content) {
  const auto found = kept_.find(Key(side_, content));
  if (found == kept_.end()) return nullptr;
  Kept& kept = found->second;
  kept.used = ++turn_;
  if (kept.full != nullptr) return kept.full;
  auto wide = std::make_shared<ImageFeatures>();
  wide->rows = kept.rows;
  wide->width = kept.width;
  wide->values.reserve(kept.halves.size());
  for (const uint16_t half : kept.halves) wide->values.push_back(std::bit_cast<float>(static_cast<uint32_t>(half) << 16));
  return wide;
}

void ImageFeatureCache::Drop(KeptMap::iterator kept) {
  bytes_ -= kept->second.bytes;
  kept_.erase(kept);
}

bool ImageFeatureCache::MakeRoom(int64_t bytes) {
  if (bytes > bytes_max_) return false;
  while (bytes_ + bytes > bytes_max_) {
    auto oldest = kept_.end();
    for (auto it = kept_.begin(); it != kept_.end(); ++it) {
      if (keeping_ == Keeping::kFirst && it->first.first == side_) continue;
      if (oldest == kept_.end() || it->second.used < oldest->second.used) oldest = it;
    }
    if (oldest == kept_.end()) return false;
    Drop(oldest);
  }
  return true;
}

std::shared_ptr<const ImageFeatures> ImageFeatureCache::Keep(const std::string& content, ImageFeatures encoded) {
  const auto features = std::make_shared<const ImageFeatures>(std::move(encoded));
  const bool halves = AllHalves(features->values);
  const auto bytes = static_cast<int64_t>(features->values.size()) * (halves ? 2 : 4);
  if (!MakeRoom(bytes)) return features;
  bytes_ += bytes;
  Kept& kept = kept_[Key(side_, content)];
  kept.rows = features->rows;
  kept.width = features->width;
  kept.bytes = bytes;
  kept.used = ++turn_;
  if (!halves) {
    kept.full = features;
    return features;
  }
  kept.halves.reserve(features->values.size());
  for (const float value : features->values) {
    kept.halves.push_back(static_cast<uint16_t>(std::bit_cast<uint32_t>(value) >> 16));
  }
  return features;
}

absl::StatusOr<std::shared_ptr<const ImageFeatures>> ImageFeatureCache::Get(const std::string& path) {
  const auto known = contents_.find(path);
  if (known != contents_.end()) {
    if (auto features = Find(known->second)) return features;
  }
  MG_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(path, ImageLimits().max_bytes));
  const std::string content = known != contents_.end() ? known->second : Sha256Hex(bytes);
  auto features = Find(content);
  if (features == nullptr) {
    MG_ASSIGN_OR_RETURN(ImageFeatures encoded, Encode(bytes, path, {}));
    features = Keep(content, std::move(encoded));
  }
  contents_[path] = content;
  rows_[content] = features->rows;
  return features;
}

absl::StatusOr<int> ImageFeatureCache::Rows(const std::string& path) {
  const auto known = contents_.find(path);
  if (known != contents_.end()) return rows_.at(known->second);
  MG_ASSIGN_OR_RETURN(const auto features, Get(path));
  return features->rows;
}

absl::StatusOr<std::shared_ptr<const ImageFeatures>> ImageFeatureCache::See(absl::string_view bytes,
                                                                            const ImageLimits& limits) {
  const std::string content = Sha256Hex(bytes);
  if (auto features = Find(content)) return features;
  MG_ASSIGN_OR_RETURN(ImageFeatures encoded, Encode(bytes, "", limits));
  return Keep(content, std::move(encoded));
}

}  // namespace merganser
