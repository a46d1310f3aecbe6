#include "coordinator/job/leadership.h"

#include "common/base/log.h"
#include "common/base/status_macros.h"

namespace merganser {

absl::Status Leadership::Acquire(const std::string& holder, absl::Duration lease) {
  // Read before the call, so that ours ends first.
  const absl::Duration start = clock_.Monotonic();
  MG_ASSIGN_OR_RETURN(epoch_, store_.Lead(holder, lease));
  lease_ = lease;
  deadline_ = start + lease;
  renew_at_ = start + lease / 3;
  held_ = true;
  return absl::OkStatus();
}

absl::Status Leadership::Renew() {
  const absl::Duration start = clock_.Monotonic();
  if (!held_ || start < renew_at_) return absl::OkStatus();
  const absl::Status status = store_.RenewLead(epoch_, lease_);
  if (status.ok()) {
    deadline_ = start + lease_;
    renew_at_ = start + lease_ / 3;
  } else if (absl::IsAborted(status)) {
    held_ = false;
  } else {
    renew_at_ = start + lease_ / 10;
    MG_LOG(WARNING) << "leader lease not renewed epoch=" << epoch_ << " reason=\"" << status.message() << "\"";
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
