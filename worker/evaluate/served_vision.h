// The pictures of an endpoint's requests, one at a time on a thread of their own.
#ifndef MERGANSER_WORKER_EVALUATE_SERVED_VISION_H_
#define MERGANSER_WORKER_EVALUATE_SERVED_VISION_H_

#include <cstdint>
#include <deque>
#include <future>
#include <memory>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "worker/evaluate/image_feature_cache.h"
#include "worker/serve/picture_reader.h"

namespace merganser {

// Thread-safe. torch keeps threads and state for every thread that calls it; a server has many, so the vision side has one.
// A picture whose features are kept is not read again; the log tells what is kept.
class ServedVision : public PictureReader {
 public:
  // `images` outlives it and is used by nobody else until it is gone.
  ServedVision(ImageFeatureCache& images, int threads);
  // Nobody is in Read any more.
  ~ServedVision() override;

  int32_t image_token() const override { return images_.image_token(); }
  absl::StatusOr<SeenPicture> Read(absl::string_view bytes) override;

 private:
  using Job = std::packaged_task<absl::StatusOr<SeenPicture>()>;

  absl::StatusOr<SeenPicture> See(absl::string_view bytes);

  ImageFeatureCache& images_;
  absl::Mutex mutex_;
  std::deque<Job> jobs_ ABSL_GUARDED_BY(mutex_);
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // last: it uses the others
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_EVALUATE_SERVED_VISION_H_
