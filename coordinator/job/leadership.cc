#include "coordinator/job/leadership.h"

#include "common/base/log.h"
#include "common/base/status_macros.h"

namespace merganser {
namespace {

constexpr absl::Duration kTellEvery = absl::Seconds(30);

}  // namespace

absl::Status Leadership::Acquire(const std::string& holder, absl::Duration lease) {
  // Read before the call, so that ours ends first.
  const absl::Duration start = clock_.Monotonic();
  MG_ASSIGN_OR_RETURN(epoch_, store_.Lead(holder, lease));
  lease_ = lease;
  deadline_ = start + lease;
  renew_at_ = start + lease / 3;
  held_ = true;
  failure_ = absl::OkStatus();
  return absl::OkStatus();
}

std::optional<absl::Status> Leadership::RenewIfDue() {
  const absl::Duration start = clock_.Monotonic();
  if (!held_ || start < renew_at_) return std::nullopt;
  const absl::Status status = store_.RenewLead(epoch_, lease_);
  if (status.ok()) {
    deadline_ = start + lease_;
    renew_at_ = start + lease_ / 3;
    if (!failure_.ok()) {
      MG_LOG(INFO) << "leader lease renewed again epoch=" << epoch_
                   << " after=" << absl::FormatDuration(absl::Trunc(start - failing_since_, absl::Milliseconds(100)));
    }
    failure_ = absl::OkStatus();
  } else if (absl::IsAborted(status)) {
    held_ = false;
  } else {
    renew_at_ = start + lease_ / 10;
    if (failure_.ok()) failing_since_ = tell_at_ = start;
    failure_ = status;
    if (start >= tell_at_) {
      MG_LOG(WARNING) << "leader lease not renewed epoch=" << epoch_ << " reason=\"" << status.message() << "\"";
      tell_at_ = start + kTellEvery;
    }
  }
  return status;
}

void Leadership::Release() {
  if (!held_) return;
  held_ = false;
  const absl::Status status = store_.ReleaseLead(epoch_);
  if (!status.ok()) {
    MG_LOG(WARNING) << "leader lease not released reason=\"" << status.message() << "\"";
  }
}

}  // namespace merganser
