#include "worker/evaluate/served_vision.h"

#include <ATen/Parallel.h>

#include <bit>
#include <utility>

#include "common/base/log.h"
#include "common/base/status_macros.h"

namespace merganser {
namespace {

constexpr int64_t kPixelsMax = 50'000'000;  // a stranger's picture: 150 MB as RGB

}  // namespace

ServedVision::ServedVision(ImageFeatureCache& images, int threads) : images_(images) {
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
  const int64_t encoded = images_.encoded();
  MG_ASSIGN_OR_RETURN(const std::shared_ptr<const ImageFeatures> features, images_.See(bytes, limits));
  if (images_.encoded() > encoded && std::has_single_bit(static_cast<uint64_t>(images_.encoded()))) {
    MG_LOG(INFO) << "pictures read times=" << images_.encoded() << " kept=" << images_.kept()
                 << " kept_bytes=" << images_.bytes() << " bound_bytes=" << images_.bytes_max()
                 << " seconds=" << images_.seconds();
  }
  return SeenPicture{features->rows, features->values};
}

}  // namespace merganser
