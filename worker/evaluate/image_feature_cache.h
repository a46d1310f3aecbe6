// Features of a job's pictures: they do not depend on the candidate, because its vision side is frozen, so they are computed
// once and kept.
#ifndef MERGANSER_WORKER_EVALUATE_IMAGE_FEATURE_CACHE_H_
#define MERGANSER_WORKER_EVALUATE_IMAGE_FEATURE_CACHE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "worker/checkpoint/checkpoint.h"
#include "worker/vision/vision_model.h"

namespace merganser {

// Thread-compatible.
class ImageFeatureCache {
 public:
  // Of the vision side of `checkpoint`, on `device`. Features that would take more than `bytes_max` together are not kept:
  // they are computed anew whenever they are asked for, first come first kept. Errors of VisionModel::Load.
  static absl::StatusOr<std::unique_ptr<ImageFeatureCache>> Create(const std::shared_ptr<const Checkpoint>& checkpoint,
                                                                   const std::string& device, int64_t bytes_max);

  // The environment's MERGANSER_IMAGE_CACHE_MIB in bytes; without it 4 GiB. InvalidArgument: it is no number of mebibytes.
  static absl::StatusOr<int64_t> BytesMax();

  // The token that stands in a prompt for the features.
  int32_t image_token() const { return vision_->config().image_token_id; }

  // The picture in the file `path`. Features that are all bf16 numbers (those of a GPU) are kept in two bytes each and are
  // given out as floats. Errors of ReadImage, ProcessImage and VisionModel::Encode; all name the file.
  absl::StatusOr<std::shared_ptr<const ImageFeatures>> Get(const std::string& path);
  // Their rows; after the first call for a path it costs nothing.
  absl::StatusOr<int> Rows(const std::string& path);

  int64_t images() const { return static_cast<int64_t>(kept_.size()); }  // different ones, kept or not
  int64_t bytes() const { return bytes_; }                               // of the kept features
  int64_t bytes_max() const { return bytes_max_; }
  int64_t encoded() const { return encoded_; }  // pictures that went through the tower, again and again ones each time
  double seconds() const { return seconds_; }   // that reading and encoding took

 private:
  struct Kept {
    int rows = 0;
    std::shared_ptr<const ImageFeatures> full;  // null: see halves
    std::vector<uint16_t> halves;               // bf16; both empty: not kept
  };

  ImageFeatureCache(std::unique_ptr<VisionModel> vision, int64_t bytes_max)
      : vision_(std::move(vision)), bytes_max_(bytes_max) {}
  absl::StatusOr<ImageFeatures> Encode(const std::string& path);

  const std::unique_ptr<VisionModel> vision_;
  const int64_t bytes_max_;
  absl::flat_hash_map<std::string, Kept> kept_;  // by path
  int width_ = 0;
  int64_t bytes_ = 0;
  int64_t encoded_ = 0;
  double seconds_ = 0;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_EVALUATE_IMAGE_FEATURE_CACHE_H_
