// The pictures of an endpoint's requests, one at a time on a thread of their own.
#ifndef MERGANSER_WORKER_EVALUATE_SERVED_VISION_H_
#define MERGANSER_WORKER_EVALUATE_SERVED_VISION_H_

#include <deque>
#include <future>
#include <memory>
#include <stop_token>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "worker/serve/picture_reader.h"
#include "worker/vision/vision_model.h"

namespace merganser {

// Thread-safe. torch keeps threads and state for every thread that calls it; a server has many, so the vision side has one.
class ServedVision : public PictureReader {
 public:
  // Errors of VisionModel::Load.
  static absl::StatusOr<std::unique_ptr<ServedVision>> Create(const std::shared_ptr<const Checkpoint>& checkpoint,
                                                              const std::string& device, int threads);
  // Nobody is in Read any more.
  ~ServedVision() override;

  int32_t image_token() const override { return vision_->config().image_token_id; }
  absl::StatusOr<SeenPicture> Read(absl::string_view bytes) override;

 private:
  using Job = std::packaged_task<absl::StatusOr<SeenPicture>()>;

  ServedVision(std::unique_ptr<VisionModel> vision, int threads);
  absl::StatusOr<SeenPicture> See(absl::string_view bytes);

  const std::unique_ptr<VisionModel> vision_;
  absl::Mutex mutex_;
  std::deque<Job> jobs_ ABSL_GUARDED_BY(mutex_);
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // last: it uses the others
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_EVALUATE_SERVED_VISION_H_
