#include "coordinator/job/job_log.h"

#include <algorithm>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"

namespace merganser {
namespace {

constexpr int64_t kReplayPage = 1000;  // events per read

}  // namespace

JobLog::JobLog(const JobLogDeps& deps, std::string id, JobSpec spec,
               std::function<void(const JobEvent&)> on_applied)
    : deps_(deps), state_(std::move(id), std::move(spec)), on_applied_(std::move(on_applied)) {}

absl::Status JobLog::Replay() {
  while (true) {
    MG_ASSIGN_OR_RETURN(const std::vector<StoredEvent> page,
                        deps_.store->ReadEvents(state_.id(), state_.seq(), kReplayPage));
    if (page.empty()) return absl::OkStatus();
    for (const StoredEvent& stored : page) {
      absl::StatusOr<JobEvent> event = deps_.codec->DecodeEvent(stored.body);
      if (!event.ok()) {
        return absl::DataLossError(
            absl::StrCat(state_.id(), " event ", stored.seq, ": ", event.status().message()));
      }
      MG_RETURN_IF_ERROR(state_.Apply(stored.seq, *event));
      events_.push_back(*std::move(event));
    }
  }
}

absl::Status JobLog::Commit(int64_t epoch, std::vector<EventBody> bodies,
                            const std::string& required_record) {
  if (broken_) return absl::InternalError(absl::StrCat(state_.id(), ": the log is broken"));
  if (pending_.has_value()) {
    return absl::UnavailableError(absl::StrCat(state_.id(), ": the results store is away; retry"));
  }
  Pending pending{.required_record = required_record, .delay = kRetryMin};
  const absl::Time now = deps_.clock->Now();
  for (EventBody& body : bodies) {
    pending.events.push_back({now, std::move(body)});
    pending.bytes.push_back(deps_.codec->EncodeEvent(pending.events.back()));
  }
  return Store(epoch, std::move(pending));
}

absl::Status JobLog::Store(int64_t epoch, Pending pending) {
  const absl::Duration start = deps_.clock->Monotonic();
  const auto append = [&] {
    return deps_.store->Append(epoch, state_.id(), state_.seq(), pending.bytes, pending.required_record);
  };
  absl::Status status = append();
  if (absl::IsOutOfRange(status)) {
    status = Mend(epoch);
    if (status.ok()) status = append();
  }
  const absl::Duration end = deps_.clock->Monotonic();
  last_append_ = end;
  if (deps_.observer != nullptr) deps_.observer->OnStoreCommit("append", end - start, status);
  if (status.ok()) return ApplyNew(std::move(pending.events));
  if (absl::IsAborted(status)) return status;
  if (absl::IsFailedPrecondition(status) && !pending.required_record.empty()) return status;
  // Everything else is repeated, a full disk too: only the store knows whether it has these events.
  if (pending.delay == kRetryMin) {
    MG_LOG(WARNING) << "job log stalled job=" << state_.id() << " seq=" << state_.seq()
                    << " reason=\"" << status.message() << "\"";
  }
  pending.retry_at = end + pending.delay;
  pending.delay = std::min(pending.delay * 2, kRetryMax);
  pending_ = std::move(pending);
  return absl::UnavailableError(absl::StrCat(state_.id(), ": ", status.message()));
}

absl::StatusOr<int64_t> JobLog::StoredEnd() {
  const auto has = [&](int64_t seq) -> absl::StatusOr<bool> {
    if (seq == 0) return true;
    MG_ASSIGN_OR_RETURN(const std::vector<StoredEvent> at, deps_.store->ReadEvents(state_.id(), seq - 1, 1));
    return !at.empty();
  };
  int64_t low = 0, high = state_.seq();  // has(low)
  MG_ASSIGN_OR_RETURN(const bool whole, has(high));
  if (whole) return high;
  while (high - low > 1) {
    const int64_t middle = low + (high - low) / 2;
    MG_ASSIGN_OR_RETURN(const bool there, has(middle));
    (there ? low : high) = middle;
  }
  return low;
}

absl::Status JobLog::Mend(int64_t epoch) {
  MG_ASSIGN_OR_RETURN(int64_t end, StoredEnd());
  const int64_t lost = state_.seq() - end;
  if (end > 0) {
    MG_ASSIGN_OR_RETURN(const std::vector<StoredEvent> last, deps_.store->ReadEvents(state_.id(), end - 1, 1));
    if (last.size() != 1 || last[0].body != deps_.codec->EncodeEvent(events_[end - 1])) {
      return absl::AbortedError(absl::StrCat(state_.id(), " event ", end, " in the store is another coordinator's"));
    }
  }
  if (lost == 0) return absl::OkStatus();
  while (end < state_.seq()) {
    std::vector<std::string> bytes;
    for (int64_t i = end; i < std::min(end + kReplayPage, state_.seq()); ++i) {
      bytes.push_back(deps_.codec->EncodeEvent(events_[i]));
    }
    MG_RETURN_IF_ERROR(deps_.store->Append(epoch, state_.id(), end, bytes));
    end += static_cast<int64_t>(bytes.size());
  }
  MG_LOG(ERROR) << "the store had lost events, they are stored again job=" << state_.id() << " events=" << lost;
  if (deps_.observer != nullptr) deps_.observer->OnStoreRegression(state_.id(), lost);
  return absl::OkStatus();
}

absl::Status JobLog::ApplyNew(std::vector<JobEvent> events) {
  for (JobEvent& event : events) {
    const absl::Status fits = state_.Apply(state_.seq() + 1, event);
    if (!fits.ok()) {
      broken_ = true;
      MG_LOG(ERROR) << "stored an event that does not fit, the job stops: " << fits.message();
      return absl::InternalError(fits.message());
    }
    events_.push_back(std::move(event));
    if (deps_.observer != nullptr) deps_.observer->OnEvent(state_.id(), events_.back());
    on_applied_(events_.back());
  }
  return absl::OkStatus();
}

absl::Status JobLog::Retry(int64_t epoch) {
  if (!pending_.has_value()) return absl::OkStatus();
  if (deps_.clock->Monotonic() < pending_->retry_at) {
    return absl::UnavailableError(absl::StrCat(state_.id(), ": the results store is away; retry"));
  }
  Pending pending = *std::move(pending_);
  pending_.reset();
  return Store(epoch, std::move(pending));
}

}  // namespace merganser
