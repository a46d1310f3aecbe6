// One job's log in the store together with the state that it gives: the only way by which a job's state changes.
#ifndef MERGANSER_COORDINATOR_JOB_JOB_LOG_H_
#define MERGANSER_COORDINATOR_JOB_JOB_LOG_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/domain/events.h"
#include "common/store/results_store.h"
#include "coordinator/job/job_manager.h"
#include "coordinator/job/job_state.h"

namespace merganser {

// What a log writes through. All outlive it; `observer` may be null.
struct JobLogDeps {
  ResultsStore* store = nullptr;
  const JobCodec* codec = nullptr;
  Clock* clock = nullptr;
  JobObserver* observer = nullptr;
};

// Not thread-safe; only the job loop uses it.
class JobLog {
 public:
  static constexpr absl::Duration kRetryMin = absl::Milliseconds(100);
  static constexpr absl::Duration kRetryMax = absl::Seconds(5);
  // The end of the log that is kept in memory, as stored, for watchers and Mend: so many bytes always, and more while it is
  // younger than kTailAge. A log of 100,000 candidates has gigabytes of events when decoded.
  static constexpr size_t kTailBytes = size_t{4} << 20;
  static constexpr size_t kTailBytesMax = size_t{64} << 20;
  static constexpr absl::Duration kTailAge = absl::Minutes(2);

  // `on_applied` sees each new event once it is stored and in the state (not those of Replay). It must not commit.
  JobLog(const JobLogDeps& deps, std::string id, JobSpec spec, std::function<void(const JobEvent&)> on_applied);
  JobLog(const JobLog&) = delete;
  JobLog& operator=(const JobLog&) = delete;

  // Reads the whole log, and calls `between` after each page, whose error ends it. DataLoss naming job and event: the log is
  // damaged, and state() is what comes before. Errors of the store.
  absl::Status Replay(const std::function<absl::Status()>& between);

  // Stores the events in one append, then applies them. After
  //   OK                  they are stored and applied.
  //   Unavailable         their fate is unknown: they are kept, the log is stalled, and Retry settles it. Also at once,
  //                       with nothing kept, while the log is stalled already.
  //   Aborted             another coordinator leads; nothing is kept.
  //   FailedPrecondition  one of `required_records` is not in the store; nothing is kept.
  //   Internal            the log is damaged: an event did not fit the state (a bug), or the store lacks what it
  //                       acknowledged.
  absl::Status Commit(int64_t epoch, std::vector<EventBody> events, std::vector<std::string> required_records = {});

  // Nothing can be stored now; of a damaged log, for good.
  bool stalled() const { return pending_.has_value() || damaged(); }
  // Why the log cannot be replayed, with the event's number; "" while nothing like that is known. A damaged log is only
  // read.
  const std::string& damage() const { return damage_; }
  bool damaged() const { return !damage_.empty(); }
  void SetDamaged(absl::string_view why);
  // Repeats the stalled append if its time has come (delays double from kRetryMin to kRetryMax). OK: nothing is pending
  // any more. Errors as Commit.
  absl::Status Retry(int64_t epoch);

  // Makes sure that the store still has the whole log. After a failover it may have gone back to a copy that lacks the last
  // events, acknowledged though they were; this process has them, so they are appended again. OK: the store has them all.
  // Aborted: it has other events in their place, so another coordinator leads. DataLoss: it lacks more than the tail that is
  // kept in memory, so the log is damaged. Errors of the store.
  absl::Status Mend(int64_t epoch);
  // Monotonic; of the last append.
  absl::Duration last_append() const { return last_append_; }

  const JobState& state() const { return state_; }
  // Up to `limit` events with seq > after_seq, in order and with their seq; fewer where they are large. Those before the
  // tail are read from the store, whose errors it gives; DataLoss for a damaged one, which makes the log a damaged one.
  absl::StatusOr<std::vector<std::pair<int64_t, JobEvent>>> EventsAfter(int64_t after_seq, int64_t limit);

 private:
  struct Pending {
    std::vector<JobEvent> events;
    std::vector<std::string> bytes;
    std::vector<std::string> required_records;
    absl::Duration delay;
    absl::Duration retry_at;  // monotonic
  };
  absl::Status Store(int64_t epoch, Pending pending);
  absl::Status ReplayRest(const std::function<absl::Status()>& between);
  absl::Status MendEnd(int64_t epoch);
  absl::StatusOr<std::vector<std::pair<int64_t, JobEvent>>> ReadAfter(int64_t after_seq, int64_t limit) const;
  // How many events the store holds of those that this log knows.
  absl::StatusOr<int64_t> StoredEnd();
  absl::Status ApplyNew(Pending pending);
  absl::StatusOr<JobEvent> Decode(int64_t seq, const std::string& bytes) const;
  void KeepTail(std::string bytes);
  // Of the event `seq` (nullptr: before the tail).
  const std::string* InTail(int64_t seq) const;

  JobLogDeps deps_;
  JobState state_;
  std::function<void(const JobEvent&)> on_applied_;
  struct TailEvent {
    std::string bytes;
    absl::Duration time;  // monotonic
  };
  std::deque<TailEvent> tail_;  // the last one has seq state_.seq()
  size_t tail_bytes_ = 0;
  std::optional<Pending> pending_;
  absl::Duration last_append_;
  std::string damage_;
};

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_JOB_JOB_LOG_H_
