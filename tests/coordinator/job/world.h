// A coordinator's job loop, a store that can fail, and workers that evaluate a known function: everything that the tests
// of coordinator/job need, on one thread and under a fake clock.
#ifndef MERGANSER_TESTS_COORDINATOR_JOB_WORLD_H_
#define MERGANSER_TESTS_COORDINATOR_JOB_WORLD_H_

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/codec/job_codec.h"
#include "common/store/memory/memory_store.h"
#include "coordinator/job/job_loop.h"
#include "tests/testing/fake_clock.h"

namespace merganser {

// Passes calls on; `fault` may make a call fail before or after it took effect. Operations: "lead", "renew",
// "create_job", "append", "get_record", "put_record", "list_jobs", "read_events", "put_snapshot",
// "get_snapshot", "put_fleet", "get_fleet".
class FaultyStore final : public ResultsStore {
 public:
  enum class Fault { kNone, kBefore, kAfter };
  explicit FaultyStore(ResultsStore* store) : store_(*store) {}
  std::function<Fault(absl::string_view operation)> fault = [](absl::string_view) { return Fault::kNone; };
  // If set: what the disk makes of events that are read.
  std::function<absl::Status(const std::string& job_id, std::vector<StoredEvent>* events)> damage;

  absl::Status PutRecord(const std::string& key, absl::string_view bytes) override {
    return Do<absl::Status>("put_record", [&] { return store_.PutRecord(key, bytes); });
  }
  absl::StatusOr<std::string> GetRecord(const std::string& key) override {
    return Do<absl::StatusOr<std::string>>("get_record", [&] { return store_.GetRecord(key); });
  }
  absl::StatusOr<int64_t> Lead(const std::string& holder, absl::Duration lease) override {
    return Do<absl::StatusOr<int64_t>>("lead", [&] { return store_.Lead(holder, lease); });
  }
  absl::Status RenewLead(int64_t epoch, absl::Duration lease) override {
    return Do<absl::Status>("renew", [&] { return store_.RenewLead(epoch, lease); });
  }
  absl::Status ReleaseLead(int64_t epoch) override { return store_.ReleaseLead(epoch); }
  absl::StatusOr<std::string> CreateJob(int64_t epoch, const std::string& request_id, const std::string& name,
                                        absl::string_view spec) override {
    return Do<absl::StatusOr<std::string>>("create_job", [&] { return store_.CreateJob(epoch, request_id, name, spec); });
  }
  absl::StatusOr<std::vector<StoredJob>> ListJobs() override {
    return Do<absl::StatusOr<std::vector<StoredJob>>>("list_jobs", [&] { return store_.ListJobs(); });
  }
  absl::Status Append(int64_t epoch, const std::string& job_id, int64_t expected_seq, absl::Span<const std::string> events,
                      absl::Span<const std::string> required_records) override {
    return Do<absl::Status>("append", [&] { return store_.Append(epoch, job_id, expected_seq, events, required_records); });
  }
  absl::StatusOr<std::vector<StoredEvent>> ReadEvents(const std::string& job_id, int64_t after_seq, int64_t limit) override {
    return Do<absl::StatusOr<std::vector<StoredEvent>>>("read_events", [&]() -> absl::StatusOr<std::vector<StoredEvent>> {
      absl::StatusOr<std::vector<StoredEvent>> events = store_.ReadEvents(job_id, after_seq, limit);
      if (!events.ok() || !damage) return events;
      if (const absl::Status status = damage(job_id, &*events); !status.ok()) return status;
      return events;
    });
  }
  absl::Status PutSnapshot(int64_t epoch, const std::string& id, const StoredSnapshot& s) override {
    return Do<absl::Status>("put_snapshot", [&] { return store_.PutSnapshot(epoch, id, s); });
  }
  absl::StatusOr<std::optional<StoredSnapshot>> GetSnapshot(const std::string& id) override {
    return Do<absl::StatusOr<std::optional<StoredSnapshot>>>("get_snapshot", [&] { return store_.GetSnapshot(id); });
  }
  absl::Status PutFleet(int64_t epoch, absl::string_view body) override {
    return Do<absl::Status>("put_fleet", [&] { return store_.PutFleet(epoch, body); });
  }
  absl::StatusOr<std::string> GetFleet() override {
    return Do<absl::StatusOr<std::string>>("get_fleet", [&] { return store_.GetFleet(); });
  }
  std::string uri() const override { return "faulty:"; }

 private:
  template <typename R, typename F>
  R Do(absl::string_view operation, F call) {
    const Fault kind = fault(operation);
    if (kind == Fault::kBefore) return absl::UnavailableError("the store is away");
    R result = call();
    if (kind == Fault::kAfter) return absl::UnavailableError("the answer was lost");
    return result;
  }
  ResultsStore& store_;
};

// One worker process as the coordinator sees it.
struct FakeWorker final : WorkerLink {
  explicit FakeWorker(std::string id) : id(std::move(id)) {}
  void Assign(const Assignment& a) override { held.push_back(a); }
  void Cancel(const AttemptId& attempt) override { Drop(attempt), cancelled.push_back(attempt); }
  void Drain() override { draining = true; }
  void Acknowledge(const std::vector<RunningAttempt>& unknown) override {
    for (const RunningAttempt& attempt : unknown) Drop(attempt.id), disowned.push_back(attempt.id);
  }
  void GoAway(absl::Duration) override { sent_away = true; }
  void Drop(const AttemptId& attempt);
  std::vector<RunningAttempt> running() const;

  const std::string id;
  std::vector<Assignment> held;  // assigned, not reported
  std::vector<AttemptId> cancelled;
  std::vector<AttemptId> disowned;
  bool draining = false;
  bool sent_away = false;
};

// Samples of each benchmark in the jobs below that have a sample policy.
inline constexpr int64_t kWorldSamples = 120;
// What a recipe gets on sample number `sample` of any benchmark, 0 or 1: a better one gets all that a worse one gets, but
// for one in eight samples, of which a hash of the recipe decides.
double HonestOutcome(const Recipe& recipe, int64_t sample);

// The record that an honest worker writes for the assignment: 1 - sum of (weight - 0.7)^2 on every benchmark; where the job
// has a sample policy, the outcomes of the samples that were asked for, and their mean.
std::string HonestRecord(const Assignment& assignment, const std::string& metric = "acc");

struct World {
  using Failure = std::pair<FailureClass, std::string>;

  World();
  // A coordinator on the same store; the old one, if any, is gone without a word.
  void NewLoop();
  std::shared_ptr<FakeWorker> AddWorker(const std::string& id, int slots = 1);
  absl::Status Connect(const std::shared_ptr<FakeWorker>& worker, int slots = 1);

  std::string Record(const Assignment& assignment) const;
  // Evaluates: by `fail` a failure, else a record is written. Returns what there is to report.
  absl::StatusOr<AttemptReport> Evaluate(const FakeWorker& worker, const Assignment& assignment);
  // Evaluates and reports the worker's first assignment.
  absl::StatusOr<Disposition> Work(FakeWorker& worker);
  // Ticks, lets every worker work and heartbeat, advances the clock by a second; until the job is over or nothing is left
  // to do for a simulated hour.
  JobSummary Run(const std::string& job_id);
  JobSummary Submit(const JobSpec& spec, const std::string& request_id = "");
  JobSummary Summary(const std::string& job_id) { return *loop->GetJob(job_id); }
  std::vector<Candidate> Candidates(const std::string& job_id) { return *loop->ListCandidates(job_id); }

  FakeClock clock;
  MemoryStore memory{clock};
  FaultyStore store{&memory};
  JobManagerOptions options;
  JobObserver* observer = nullptr;  // of the next NewLoop
  std::unique_ptr<JobLoop> loop;
  std::map<std::string, std::shared_ptr<FakeWorker>> workers;
  std::function<std::optional<Failure>(const Assignment&)> fail = [](const Assignment&) { return std::nullopt; };
  std::function<void(v1::ResultRecord*)> tamper;             // if set: changes what a worker writes
  std::string metric = "acc";                                // that the benchmark yields
  std::map<std::pair<std::string, int64_t>, int> evaluated;  // (job, candidate): times
};

// Two sources over models of two layers: dimension 8 by layer. CMA-ES with a population of 6, 14 candidates.
JobSpec SphereSpec(const std::string& name = "sphere");

// The same, then a stage of paths through its winner and a source, then finalists on a benchmark of their own.
JobSpec StagedSpec();

// SphereSpec with `per_generation` fresh samples (0: all, and no finalists) and its finalists on all of the same data.
JobSpec SampledSpec(int64_t per_generation);

// Prepare, three models and the average.
inline constexpr int64_t kFirstSearch = 5;

}  // namespace merganser

#endif  // MERGANSER_TESTS_COORDINATOR_JOB_WORLD_H_
