// Features of pictures, each computed once: of a job's samples, of what its programs send, of an endpoint's requests.
#ifndef MERGANSER_WORKER_EVALUATE_IMAGE_FEATURE_CACHE_H_
#define MERGANSER_WORKER_EVALUATE_IMAGE_FEATURE_CACHE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "worker/checkpoint/checkpoint.h"
#include "worker/vision/image.h"
#include "worker/vision/vision_model.h"

namespace merganser {

// Features depend on the picture and on the vision side (tower and projector) that sees it. Most candidates of a job have
// the side of one model; where sides are merged, each candidate has its own (Use). Pictures are told apart by their files'
// bytes, whatever they are called. Thread-compatible.
class ImageFeatureCache {
 public:
  // What becomes of features that there is no room for. kFirst: they are computed anew whenever they are asked for, first
  // come first kept, which is best where the same pictures come again and again in turn. kLatest: those that were asked for
  // longest ago make room, which is best for strangers' pictures.
  enum class Keeping { kFirst, kLatest };
  using LoadVision = std::function<absl::StatusOr<std::unique_ptr<VisionModel>>()>;

  // Of the vision side of `checkpoint`, on `device`. Kept features take at most `bytes_max` together. Errors of
  // VisionModel::Load.
  static absl::StatusOr<std::unique_ptr<ImageFeatureCache>> Create(const std::shared_ptr<const Checkpoint>& checkpoint,
                                                                   const std::string& device, int64_t bytes_max,
                                                                   Keeping keeping = Keeping::kFirst);
  // Of `vision`, the side called `side`.
  ImageFeatureCache(std::unique_ptr<VisionModel> vision, std::string side, int64_t bytes_max, Keeping keeping);

  // The environment's MERGANSER_IMAGE_CACHE_MIB in bytes; without it `otherwise_mib`. InvalidArgument: it is no number of
  // mebibytes.
  static absl::StatusOr<int64_t> BytesMax(int64_t otherwise_mib = 4096);

  // From now on pictures are seen by the side called `side`, of the same sizes as the first one (so that rows stay). `load`
  // makes it when features are wanted that are not kept. What is kept of a side that is not `lasting` goes when another one
  // comes; what is kept of lasting ones, when the side in use needs the room.
  void Use(const std::string& side, bool lasting, LoadVision load);
  // Calls the side's `load` now.
  absl::Status Load();

  // The token that stands in a prompt for the features.
  int32_t image_token() const { return image_token_; }

  // The picture in the file `path`, which is taken to stay as it was at the first call. Features that are all bf16 numbers
  // (those of a GPU) are kept in two bytes each and are given out as floats. Errors of ReadFile, DecodeImage, ProcessImage,
  // VisionModel::Encode and the side's `load`; all but the last name the file.
  absl::StatusOr<std::shared_ptr<const ImageFeatures>> Get(const std::string& path);
  // Their rows; after the first call for a path it costs nothing.
  absl::StatusOr<int> Rows(const std::string& path);
  // The picture in the file whose bytes these are. Errors as above, without a file's name.
  absl::StatusOr<std::shared_ptr<const ImageFeatures>> See(absl::string_view bytes, const ImageLimits& limits = {});

  int64_t images() const { return static_cast<int64_t>(rows_.size()); }  // different ones in files, kept or not
  int64_t kept() const { return static_cast<int64_t>(kept_.size()); }
  int64_t bytes() const { return bytes_; }  // of the kept features
  int64_t bytes_max() const { return bytes_max_; }
  int64_t encoded() const { return encoded_; }  // pictures that went through a tower, again and again ones each time
  double seconds() const { return seconds_; }   // that reading and encoding took

 private:
  using Key = std::pair<std::string, std::string>;  // side, SHA-256 of the file
  struct Kept {
    int rows = 0, width = 0;
    std::shared_ptr<const ImageFeatures> full;  // null: see halves
    std::vector<uint16_t> halves;               // bf16
    int64_t bytes = 0;
    int64_t used = 0;  // turn_ when it was last asked for
  };
  using KeptMap = absl::flat_hash_map<Key, Kept>;

  absl::StatusOr<ImageFeatures> Encode(absl::string_view bytes, const std::string& name, const ImageLimits& limits);
  // Null: not kept.
  std::shared_ptr<const ImageFeatures> Find(const std::string& content);
  std::shared_ptr<const ImageFeatures> Keep(const std::string& content, ImageFeatures features);
  // True if there is room for `bytes` more now.
  bool MakeRoom(int64_t bytes);
  void Drop(KeptMap::iterator kept);

  const int64_t bytes_max_;
  const Keeping keeping_;
  const int32_t image_token_;
  std::string side_;
  bool lasting_ = true;
  std::unique_ptr<VisionModel> vision_;  // of side_; null: load_ makes it
  LoadVision load_;
  absl::flat_hash_map<std::string, std::string> contents_;  // SHA-256 of a file, by path
  absl::flat_hash_map<std::string, int> rows_;              // by SHA-256
  KeptMap kept_;
  int64_t turn_ = 0;
  int64_t bytes_ = 0;
  int64_t encoded_ = 0;
  double seconds_ = 0;
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_EVALUATE_IMAGE_FEATURE_CACHE_H_
