#include "coordinator/job/job_log.h"

#include <algorithm>

#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"

namespace merganser {
namespace {

constexpr int64_t kReplayPage = 1000;              // events per read
constexpr size_t kBatchBytes = size_t{512} << 10;  // of EventsAfter: each watch that is not read holds one

}  // namespace

JobLog::JobLog(const JobLogDeps& deps, std::string id, JobSpec spec, std::function<void(const JobEvent&)> on_applied)
    : deps_(deps), state_(std::move(id), std::move(spec)), on_applied_(std::move(on_applied)) {}

void JobLog::SetDamaged(absl::string_view why) {
  if (damaged()) return;
  damage_ = absl::StartsWith(why, state_.id()) ? std::string(why) : absl::StrCat(state_.id(), ": ", why);
  pending_.reset();  // nobody was told that it is stored
}

absl::Status JobLog::Replay(const std::function<absl::Status()>& between) {
  const absl::Status status = ReplayRest(between);
  if (absl::IsDataLoss(status)) SetDamaged(status.message());
  return status;
}

absl::Status JobLog::ReplayRest(const std::function<absl::Status()>& between) {
  while (true) {
    const absl::StatusOr<std::vector<StoredEvent>> page = deps_.store->ReadEvents(state_.id(), state_.seq(), kReplayPage);
    if (absl::IsDataLoss(page.status())) {
      return absl::DataLossError(absl::StrCat(state_.id(), " after event ", state_.seq(), ": ", page.status().message()));
    }
    MG_RETURN_IF_ERROR(page.status());
    if (page->empty()) return absl::OkStatus();
    for (const StoredEvent& stored : *page) {
      MG_ASSIGN_OR_RETURN(JobEvent event, Decode(stored.seq, stored.body));
      MG_RETURN_IF_ERROR(state_.Apply(stored.seq, std::move(event)));
      KeepTail(stored.body);
    }
    MG_RETURN_IF_ERROR(between());
  }
}

absl::StatusOr<JobEvent> JobLog::Decode(int64_t seq, const std::string& bytes) const {
  absl::StatusOr<JobEvent> event = deps_.codec->DecodeEvent(bytes);
  if (event.ok()) return event;
  return absl::DataLossError(absl::StrCat(state_.id(), " event ", seq, ": ", event.status().message()));
}

void JobLog::KeepTail(std::string bytes) {
  const absl::Duration now = deps_.clock->Monotonic();
  tail_bytes_ += bytes.size();
  tail_.push_back({std::move(bytes), now});
  while (tail_.size() > 1 && tail_bytes_ > kTailBytes &&
         (tail_bytes_ > kTailBytesMax || now - tail_.front().time > kTailAge)) {
    tail_bytes_ -= tail_.front().bytes.size();
    tail_.pop_front();
  }
}

const std::string* JobLog::InTail(int64_t seq) const {
  const int64_t first = state_.seq() - static_cast<int64_t>(tail_.size()) + 1;
  return seq >= first && seq <= state_.seq() ? &tail_[seq - first].bytes : nullptr;
}

absl::StatusOr<std::vector<std::pair<int64_t, JobEvent>>> JobLog::EventsAfter(int64_t after_seq, int64_t limit) {
  absl::StatusOr<std::vector<std::pair<int64_t, JobEvent>>> events = ReadAfter(after_seq, limit);
  if (absl::IsDataLoss(events.status())) SetDamaged(events.status().message());
  return events;
}

absl::StatusOr<std::vector<std::pair<int64_t, JobEvent>>> JobLog::ReadAfter(int64_t after_seq, int64_t limit) const {
  std::vector<std::pair<int64_t, JobEvent>> events;
  int64_t seq = std::max<int64_t>(0, after_seq);
  std::vector<StoredEvent> page;
  if (seq < state_.seq() && InTail(seq + 1) == nullptr) {
    MG_ASSIGN_OR_RETURN(page, deps_.store->ReadEvents(state_.id(), seq, limit));
  }
  size_t bytes = 0;
  const auto add = [&](const std::string& body) -> absl::Status {
    MG_ASSIGN_OR_RETURN(JobEvent event, Decode(++seq, body));
    events.emplace_back(seq, std::move(event));
    bytes += body.size();
    return absl::OkStatus();
  };
  for (const StoredEvent& stored : page) {
    // A stalled append may be in the store already; it has not happened yet.
    if (seq >= state_.seq() || bytes >= kBatchBytes) return events;
    MG_RETURN_IF_ERROR(add(stored.body));
  }
  for (const std::string* body;
       static_cast<int64_t>(events.size()) < limit && bytes < kBatchBytes && (body = InTail(seq + 1));) {
    MG_RETURN_IF_ERROR(add(*body));
  }
  return events;
}

absl::Status JobLog::Commit(int64_t epoch, std::vector<EventBody> bodies, std::vector<std::string> required_records) {
  if (damaged()) return absl::InternalError(absl::StrCat(state_.id(), ": the log is damaged: ", damage_));
  if (pending_.has_value()) {
    return absl::UnavailableError(absl::StrCat(state_.id(), ": the results store is away; retry"));
  }
  Pending pending{.required_records = std::move(required_records), .delay = kRetryMin};
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
    return deps_.store->Append(epoch, state_.id(), state_.seq(), pending.bytes, pending.required_records);
  };
  absl::Status status = append();
  if (absl::IsOutOfRange(status)) {
    status = Mend(epoch);
    if (status.ok()) status = append();
  }
  const absl::Duration end = deps_.clock->Monotonic();
  last_append_ = end;
  if (deps_.observer != nullptr) deps_.observer->OnStoreCommit("append", end - start, status);
  if (status.ok()) return ApplyNew(std::move(pending));
  if (absl::IsAborted(status)) return status;
  if (absl::IsDataLoss(status)) SetDamaged(status.message());
  if (damaged()) return absl::InternalError(status.message());
  if (absl::IsFailedPrecondition(status) && !pending.required_records.empty()) return status;
  // Everything else is repeated, a full disk too: only the store knows whether it has these events.
  if (pending.delay == kRetryMin) {
    MG_LOG(WARNING) << "job log stalled job=" << state_.id() << " seq=" << state_.seq() << " reason=\"" << status.message()
                    << "\"";
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
  const absl::Status status = MendEnd(epoch);
  if (absl::IsDataLoss(status)) SetDamaged(status.message());
  return status;
}

absl::Status JobLog::MendEnd(int64_t epoch) {
  MG_ASSIGN_OR_RETURN(int64_t end, StoredEnd());
  const int64_t lost = state_.seq() - end;
  if (lost > 0 && InTail(end + 1) == nullptr) {
    return absl::DataLossError(absl::StrCat(state_.id(), ": the store ends at event ", end, ", but ", state_.seq(),
                                            " were stored, of which this process keeps the last ", tail_.size()));
  }
  if (const std::string* const mine = InTail(end); mine != nullptr) {
    MG_ASSIGN_OR_RETURN(const std::vector<StoredEvent> last, deps_.store->ReadEvents(state_.id(), end - 1, 1));
    if (last.size() != 1 || last[0].body != *mine) {
      return absl::AbortedError(absl::StrCat(state_.id(), " event ", end, " in the store is another coordinator's"));
    }
  }
  if (lost == 0) return absl::OkStatus();
  while (end < state_.seq()) {
    std::vector<std::string> bytes;
    for (int64_t i = end; i < std::min(end + kReplayPage, state_.seq()); ++i) {
      bytes.push_back(*InTail(i + 1));
    }
    MG_RETURN_IF_ERROR(deps_.store->Append(epoch, state_.id(), end, bytes));
    end += static_cast<int64_t>(bytes.size());
  }
  MG_LOG(ERROR) << "the store had lost events, they are stored again job=" << state_.id() << " events=" << lost;
  if (deps_.observer != nullptr) deps_.observer->OnStoreRegression(state_.id(), lost);
  return absl::OkStatus();
}

absl::Status JobLog::ApplyNew(Pending pending) {
  for (size_t i = 0; i < pending.events.size(); ++i) {
    const JobEvent& event = pending.events[i];
    const absl::Status fits = state_.Apply(state_.seq() + 1, event);
    if (!fits.ok()) {
      SetDamaged(absl::StrCat("an event was stored that does not fit: ", fits.message()));
      return absl::InternalError(fits.message());
    }
    KeepTail(std::move(pending.bytes[i]));
    if (deps_.observer != nullptr) deps_.observer->OnEvent(state_.id(), event);
    on_applied_(event);
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
