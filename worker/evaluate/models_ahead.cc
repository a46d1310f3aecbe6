#include "worker/evaluate/models_ahead.h"

#include <exception>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/log.h"

namespace merganser {

ModelsAhead::ModelsAhead(std::unique_ptr<CandidateModel> model, std::function<int64_t()> room)
    : room_(std::move(room)), current_(std::move(model)) {}

ModelsAhead::~ModelsAhead() =
    default;  // the thread is the last member: it is stopped and joined before what it uses is gone

absl::StatusOr<ModelWeights> ModelsAhead::Materialize(const Recipe& recipe, std::stop_token stop) {
  std::jthread merge;
  {
    absl::MutexLock lock(&mu_);
    open_ = false;
    expected_.reset();
    merge = std::move(thread_);
  }
  if (merge.joinable()) {
    const bool right = merging_ == recipe;
    {
      const std::stop_callback forward(stop, [&merge] { merge.request_stop(); });
      if (!right) merge.request_stop();
      merge.join();
    }
    absl::StatusOr<ModelWeights> made = *std::exchange(made_, std::nullopt);
    if (right && made.ok()) {
      std::swap(current_, spare_);
      return made;
    }
  }
  return current_->Materialize(recipe, stop);
}

void ModelsAhead::Begin() {
  absl::MutexLock lock(&mu_);
  open_ = true;
  BeginExpected();
}

void ModelsAhead::Expect(const Recipe& next) {
  absl::MutexLock lock(&mu_);
  expected_ = next;
  BeginExpected();
}

bool ModelsAhead::pending() const {
  absl::MutexLock lock(&mu_);
  return thread_.joinable();
}

void ModelsAhead::BeginExpected() {
  if (room_ == nullptr || !open_ || !expected_.has_value() || thread_.joinable()) return;
  const int64_t bytes = current_->BytesToMerge(*expected_);
  if (bytes == 0) return;
  if (const int64_t more = bytes - (spare_ == nullptr ? 0 : spare_->arena_bytes()); more > 0) {
    if (const int64_t room = room_(); room < more) {
      if (!std::exchange(told_, true)) {
        MG_LOG(INFO) << "no room to merge the next candidate ahead bytes=" << more << " room=" << room;
      }
      return;
    }
  }
  if (spare_ == nullptr) spare_ = current_->Another();
  merging_ = std::exchange(expected_, std::nullopt);
  made_.reset();
  thread_ = std::jthread([this](std::stop_token stop) {
    try {
      made_ = spare_->Materialize(*merging_, stop);
    } catch (const std::exception& e) {  // for want of memory, say: then it is made in its turn
      made_ = absl::InternalError(absl::StrCat("the merge threw: ", e.what()));
    }
  });
}

}  // namespace merganser
