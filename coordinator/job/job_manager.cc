#include "coordinator/job/job_manager.h"

#include <algorithm>
#include <atomic>
#include <deque>
#include <functional>
#include <iterator>
#include <list>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "coordinator/job/job_loop.h"

namespace merganser {
namespace {

// Bounds what callers can pile up behind a slow store; more than a fleet of thousands sends in a second.
constexpr size_t kQueueMax = 16384;
// Records that are read before the loop has asked for them: in one call of the store, and bytes in all.
constexpr size_t kReadTogether = 256;
constexpr size_t kRecordBytesAhead = size_t{64} << 20;
// Between ticks when nobody calls: leases are seconds long.
constexpr absl::Duration kTickInterval = absl::Milliseconds(100);
// For watches between two ticks: hundreds of them from a log's start would keep the loop from its lease.
constexpr absl::Duration kWatchTime = absl::Milliseconds(50);
// A caller waits this long for the loop, which may be waiting for the store. What it asked for may still happen.
constexpr absl::Duration kCallTimeout = absl::Seconds(30);
// A replay of a large log; the lease is renewed on the way.
constexpr absl::Duration kStartTimeout = absl::Minutes(30);

// The answer to one call; shared by the caller, which may give up waiting, and the loop.
template <typename R>
struct Answer {
  absl::Notification done;
  std::optional<R> result;  // set before `done`
  void Set(R value) {
    result.emplace(std::move(value));
    done.Notify();
  }
};

class JobManagerThread final : public JobManager {
 public:
  JobManagerThread(ResultsStore* store, const JobCodec* codec, Clock* clock, JobObserver* observer,
                   const JobManagerOptions& options)
      : store_(*store), clock_(*clock), loop_(store, codec, clock, observer, options) {}

  ~JobManagerThread() override { Stop(); }

  absl::Status Start() override {
    {
      absl::MutexLock lock(&mu_);
      if (stopping_) return absl::UnavailableError("the coordinator has stopped");
      if (!thread_.joinable()) {
        thread_ = std::thread([this] { Run(); });
        reader_ = std::thread([this] { ReadRecords(); });
      }
    }
    return Call<absl::Status>(
        [this] {
          const absl::Status started = loop_.Start();
          Publish();  // leading() holds when Start returns
          return started;
        },
        kStartTimeout);
  }

  void Stop() override {
    std::thread thread, reader;
    {
      absl::MutexLock lock(&mu_);
      stopping_ = true;
      thread.swap(thread_);
      reader.swap(reader_);
    }
    // First: what it still reads is answered as well.
    if (reader.joinable()) reader.join();
    {
      absl::MutexLock lock(&mu_);
      all_read_ = true;
    }
    if (thread.joinable()) thread.join();
  }

  bool leading() const override { return leading_.load(); }
  int64_t epoch() const override { return epoch_.load(); }

  absl::StatusOr<JobSummary> CreateJob(const std::string& request_id, const JobSpec& spec, const std::string& by) override {
    return Call<absl::StatusOr<JobSummary>>([this, request_id, spec, by] { return loop_.CreateJob(request_id, spec, by); });
  }
  absl::StatusOr<JobSummary> GetJob(const std::string& job) override {
    return Call<absl::StatusOr<JobSummary>>([this, job] { return loop_.GetJob(job); });
  }
  absl::StatusOr<std::vector<JobSummary>> ListJobs() override {
    return Call<absl::StatusOr<std::vector<JobSummary>>>([this] { return loop_.ListJobs(); });
  }
  absl::StatusOr<JobSummary> CancelJob(const std::string& job, const std::string& by) override {
    return Call<absl::StatusOr<JobSummary>>([this, job, by] { return loop_.CancelJob(job, by); });
  }
  absl::StatusOr<JobSummary> PauseJob(const std::string& job, const std::string& by) override {
    return Call<absl::StatusOr<JobSummary>>([this, job, by] { return loop_.PauseJob(job, by); });
  }
  absl::StatusOr<JobSummary> ResumeJob(const std::string& job, const std::string& by) override {
    return Call<absl::StatusOr<JobSummary>>([this, job, by] { return loop_.ResumeJob(job, by); });
  }
  absl::StatusOr<JobSummary> UpdateJob(const std::string& job, const JobUpdate& update, const std::string& by) override {
    return Call<absl::StatusOr<JobSummary>>([this, job, update, by] { return loop_.UpdateJob(job, update, by); });
  }
  absl::StatusOr<Candidate> GetCandidate(const std::string& job, int64_t number) override {
    return Call<absl::StatusOr<Candidate>>([this, job, number] { return loop_.GetCandidate(job, number); });
  }
  absl::StatusOr<std::string> WhatBinds(const std::string& job, const JobUpdate& update) override {
    return Call<absl::StatusOr<std::string>>([this, job, update] { return loop_.WhatBinds(job, update); });
  }
  absl::StatusOr<std::string> WhyCandidateWaits(const std::string& job, int64_t number) override {
    return Call<absl::StatusOr<std::string>>([this, job, number] { return loop_.WhyCandidateWaits(job, number); });
  }
  absl::StatusOr<std::vector<Candidate>> ListCandidates(const std::string& job) override {
    return Call<absl::StatusOr<std::vector<Candidate>>>([this, job] { return loop_.ListCandidates(job); });
  }
  absl::Status LookAtCandidates(const std::string& job, CandidatesLook look) override {
    return Call<absl::Status>([this, job, look = std::move(look)] { return loop_.LookAtCandidates(job, look); });
  }

  absl::StatusOr<EventBatch> WaitForEvents(const std::string& job, int64_t after_seq, absl::Duration timeout) override {
    auto answer = std::make_shared<Answer<absl::StatusOr<EventBatch>>>();
    const bool posted = Post([this, job, after_seq, timeout, answer] {
      watches_.push_back({job, after_seq, clock_.Monotonic() + timeout, answer});
    });
    if (!posted) return absl::UnavailableError("the coordinator does not run");
    return Wait(answer, timeout + kCallTimeout);
  }

  absl::Status WorkerConnected(const WorkerInfo& info, const std::vector<RunningAttempt>& running,
                               std::shared_ptr<WorkerLink> link) override {
    return Call<absl::Status>(
        [this, info, running, link = std::move(link)] { return loop_.WorkerConnected(info, running, link); });
  }
  void WorkerHeartbeat(const std::string& worker_id, const std::vector<RunningAttempt>& running, bool draining) override {
    Post([this, worker_id, running, draining] { loop_.WorkerHeartbeat(worker_id, running, draining); });
  }
  void WorkerDisconnected(const std::string& worker_id, const WorkerLink* link, bool gone) override {
    // One per session at most, so it is let in when the queue is full.
    Post([this, worker_id, link, gone] { loop_.WorkerDisconnected(worker_id, link, gone); },
         /*bounded=*/false);
  }
  absl::StatusOr<Disposition> ReportAttempt(const AttemptReport& report) override {
    auto answer = std::make_shared<Answer<absl::StatusOr<Disposition>>>();
    ReportAttemptThen(report, [answer](absl::StatusOr<Disposition> disposition) { answer->Set(std::move(disposition)); });
    return Wait(answer, kCallTimeout);
  }
  void ReportAttemptThen(const AttemptReport& report, std::function<void(absl::StatusOr<Disposition>)> done) override {
    {
      absl::MutexLock lock(&mu_);
      if (!stopping_ && thread_.joinable() && queue_.size() + reports_.size() + unread_.size() < kQueueMax) {
        (report.failure.has_value() ? reports_ : unread_).push_back({.report = report, .done = std::move(done)});
        return;
      }
    }
    done(absl::UnavailableError("the coordinator does not run, or is overloaded"));
  }
  absl::StatusOr<std::vector<WorkerStatus>> ListWorkers() override {
    return Call<absl::StatusOr<std::vector<WorkerStatus>>>([this] { return loop_.ListWorkers(); });
  }
  absl::Status DrainWorker(const std::string& worker_id, const std::string& by) override {
    return Call<absl::Status>([this, worker_id, by] { return loop_.DrainWorker(worker_id, by); });
  }
  absl::Status QuarantineWorker(const std::string& worker_id, absl::Duration time, const std::string& reason,
                                const std::string& by) override {
    return Call<absl::Status>(
        [this, worker_id, time, reason, by] { return loop_.QuarantineWorker(worker_id, time, reason, by); });
  }
  absl::Status ReleaseWorker(const std::string& worker_id, const std::string& by) override {
    return Call<absl::Status>([this, worker_id, by] { return loop_.ReleaseWorker(worker_id, by); });
  }

 private:
  using Command = std::function<void()>;
  struct Reported {
    AttemptReport report;
    std::string record;  // "": to be read by the loop
    std::function<void(absl::StatusOr<Disposition>)> done;
  };
  struct Watch {
    std::string job;
    int64_t after_seq;
    absl::Duration deadline;  // monotonic
    std::shared_ptr<Answer<absl::StatusOr<EventBatch>>> answer;
  };

  // False if the loop does not run or its queue is full.
  bool Post(Command command, bool bounded = true) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    if (stopping_ || !thread_.joinable()) return false;
    if (bounded && queue_.size() >= kQueueMax) return false;
    queue_.push_back(std::move(command));
    return true;
  }

  template <typename R>
  static R Wait(const std::shared_ptr<Answer<R>>& answer, absl::Duration timeout) {
    if (!answer->done.WaitForNotificationWithTimeout(timeout)) {
      return absl::UnavailableError("the coordinator is busy; what was asked may still happen");
    }
    return *std::move(answer->result);
  }

  template <typename R, typename F>
  R Call(F f, absl::Duration timeout = kCallTimeout) {
    auto answer = std::make_shared<Answer<R>>();
    // Run executes everything that was queued, also after Stop, so every call is answered.
    if (!Post([answer, f = std::move(f)] { answer->Set(f()); })) {
      return absl::UnavailableError("the coordinator does not run, or is overloaded");
    }
    return Wait(answer, timeout);
  }

  void Run() ABSL_LOCKS_EXCLUDED(mu_) {
    bool stop = false;
    while (!stop) {
      std::deque<Command> commands;
      std::vector<Reported> reports;
      {
        absl::MutexLock lock(&mu_);
        const auto due = [this]()
                             ABSL_SHARED_LOCKS_REQUIRED(mu_) { return all_read_ || !queue_.empty() || !reports_.empty(); };
        mu_.AwaitWithTimeout(absl::Condition(&due), watches_left_ ? absl::ZeroDuration() : kTickInterval);
        commands.swap(queue_);
        reports.swap(reports_);
        record_bytes_ = 0;
        stop = all_read_;
      }
      if (stop) loop_.Stop();  // what is still queued learns that it is too late
      // Before the commands: a worker that says goodbye has reported first.
      AnswerReports(std::move(reports));
      for (Command& command : commands) {
        command();
        Publish();
      }
      loop_.Tick();
      Publish();
      AnswerWatches(stop);
    }
  }

  // The records of what is reported are read while the loop waits for the store's disk, so that it finds them here. One that
  // could not be read the loop reads itself, and learns why not.
  void ReadRecords() ABSL_LOCKS_EXCLUDED(mu_) {
    while (true) {
      std::vector<Reported> some;
      {
        absl::MutexLock lock(&mu_);
        const auto due = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
          return stopping_ || (!unread_.empty() && record_bytes_ < kRecordBytesAhead);
        };
        mu_.Await(absl::Condition(&due));
        if (stopping_) {
          std::move(unread_.begin(), unread_.end(), std::back_inserter(reports_));
          unread_.clear();
          return;
        }
        if (unread_.size() <= kReadTogether) {
          some.swap(unread_);
        } else {
          std::move(unread_.begin(), unread_.begin() + kReadTogether, std::back_inserter(some));
          unread_.erase(unread_.begin(), unread_.begin() + kReadTogether);
        }
      }
      size_t bytes = 0;
      if (leading_.load()) {
        std::vector<std::string> keys;
        // Its own key and no other: whoever reports may not have the coordinator read what it likes.
        for (const Reported& one : some) {
          const AttemptId& id = one.report.id;
          keys.push_back(RecordKey(id.job_id, id.candidate, id.attempt, one.report.token));
        }
        std::vector<absl::StatusOr<std::string>> records = store_.GetRecords(keys);
        for (size_t i = 0; i < some.size(); ++i) {
          if (records[i].ok() && some[i].report.record_key == keys[i]) some[i].record = *std::move(records[i]);
          bytes += some[i].record.size();
        }
      }
      absl::MutexLock lock(&mu_);
      record_bytes_ += bytes;
      std::move(some.begin(), some.end(), std::back_inserter(reports_));
    }
  }

  void AnswerReports(std::vector<Reported> reported) {
    if (reported.empty()) return;
    std::vector<AttemptReport> reports;
    std::vector<std::string> records;
    for (Reported& one : reported) {
      reports.push_back(std::move(one.report));
      records.push_back(std::move(one.record));
    }
    std::vector<absl::StatusOr<Disposition>> answers = loop_.ReportAttempts(reports, std::move(records));
    Publish();
    for (size_t i = 0; i < reported.size(); ++i) reported[i].done(std::move(answers[i]));
  }

  void Publish() {
    epoch_.store(loop_.epoch());
    leading_.store(loop_.leading());
  }

  void AnswerWatches(bool all) {
    const absl::Duration now = clock_.Monotonic();
    watches_left_ = false;
    for (auto watch = watches_.begin(); watch != watches_.end();) {
      if (all || now >= watch->deadline || loop_.HasEventsAfter(watch->job, watch->after_seq)) {
        if (!all && clock_.Monotonic() - now > kWatchTime) {
          watches_left_ = true;
          return;
        }
        watch->answer->Set(loop_.EventsAfter(watch->job, watch->after_seq));
        watch = watches_.erase(watch);
      } else {
        ++watch;
      }
    }
  }

  ResultsStore& store_;
  Clock& clock_;
  // Only the loop's thread.
  JobLoop loop_;
  std::list<Watch> watches_;
  bool watches_left_ = false;  // some that are due wait for their turn

  std::atomic<bool> leading_{false};
  std::atomic<int64_t> epoch_{0};

  absl::Mutex mu_;
  std::deque<Command> queue_ ABSL_GUARDED_BY(mu_);
  std::vector<Reported> unread_ ABSL_GUARDED_BY(mu_);   // results whose records are to be read
  std::vector<Reported> reports_ ABSL_GUARDED_BY(mu_);  // for the loop
  size_t record_bytes_ ABSL_GUARDED_BY(mu_) = 0;        // of reports_
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;          // nothing more is taken in
  bool all_read_ ABSL_GUARDED_BY(mu_) = false;          // and nothing more comes from the reader
  std::thread thread_ ABSL_GUARDED_BY(mu_);
  std::thread reader_ ABSL_GUARDED_BY(mu_);
};

}  // namespace

std::unique_ptr<JobManager> JobManager::Create(ResultsStore* store, const JobCodec* codec, Clock* clock,
                                               JobObserver* observer, const JobManagerOptions& options) {
  return std::make_unique<JobManagerThread>(store, codec, clock, observer, options);
}

}  // namespace merganser
