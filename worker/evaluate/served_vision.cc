#include "worker/evaluate/served_vision.h"

#include <ATen/Parallel.h>

#include <utility>

#include "common/base/status_macros.h"
#include "worker/vision/image.h"
#include "worker/vision/image_processor.h"

namespace merganser {
namespace {

constexpr int64_t kPixelsMax = 50'000'000;  // a stranger's picture: 150 MB as RGB

}  // namespace

absl::StatusOr<std::unique_ptr<ServedVision>> ServedVision::Create(const std::shared_ptr<const Checkpoint>& checkpoint,
                                                                   const std::string& device, int threads) {
  MG_ASSIGN_OR_RETURN(auto vision, VisionModel::Load(checkpoint, device));
  return std::unique_ptr<ServedVision>(new ServedVision(std::move(vision), threads));
}

ServedVision::ServedVision(std::unique_ptr<VisionModel> vision, int threads) : vision_(std::move(vision)) {
  thread_ = std::thread([this, threads] {
    at::set_num_threads(threads);
    while (true) {
      Job job;
      {
        absl::MutexLock lock(&mutex_);
        const auto ready = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return ending_ || !jobs_.empty(); };
        mutex_.Await(absl::Condition(&ready));
        if (jobs_.empty()) return;
        job = std::move(jobs_.front());
        jobs_.pop_front();
      }
      job();
    }
  });
}

ServedVision::~ServedVision() {
  {
    absl::MutexLock lock(&mutex_);
    ending_ = true;
  }
  thread_.join();
}

absl::StatusOr<SeenPicture> ServedVision::Read(absl::string_view bytes) {
  Job job([this, bytes] { return See(bytes); });
  std::future<absl::StatusOr<SeenPicture>> seen = job.get_future();
  {
    absl::MutexLock lock(&mutex_);
    jobs_.push_back(std::move(job));
  }
  return seen.get();
}

absl::StatusOr<SeenPicture> ServedVision::See(absl::string_view bytes) {
  ImageLimits limits;
  limits.max_pixels = kPixelsMax;
  MG_ASSIGN_OR_RETURN(const Image image, DecodeImage(bytes, "picture", limits));
  MG_ASSIGN_OR_RETURN(const PixelValues pixels, ProcessImage(image, vision_->processor()));
  MG_ASSIGN_OR_RETURN(ImageFeatures features, vision_->Encode(pixels));
  return SeenPicture{features.rows, std::move(features.values)};
}

}  // namespace merganser
