#include "client/store_watch.h"

namespace merganser {

std::optional<StoreWatch::Outage> StoreWatch::outage() const {
  absl::MutexLock lock(&mu_);
  if (!log_.has_value()) return records_;
  return records_.has_value() && records_->since < log_->since ? records_ : log_;
}

void StoreWatch::OnStoreCommit(absl::string_view operation, absl::Duration /*took*/, const absl::Status& status) {
  if (operation != "append") return;  // a snapshot only shortens the next start
  // An append that is refused for what it holds, or as another leads, is not repeated.
  Take(absl::IsFailedPrecondition(status) || absl::IsAborted(status) ? absl::OkStatus() : status, &log_);
}

void StoreWatch::OnRecordWrite(const absl::Status& status) { Take(status, &records_); }

void StoreWatch::Take(const absl::Status& status, std::optional<Outage>* outage) {
  absl::MutexLock lock(&mu_);
  if (status.ok()) {
    outage->reset();
  } else {
    const absl::Duration since = outage->has_value() ? (*outage)->since : clock_.Monotonic();
    *outage = Outage{since, status};
  }
}

}  // namespace merganser
