// Random histories: workers die, stall, lose messages and repeat reports, the store fails before and after it took effect,
// coordinators are killed. Then the faults stop, and every promise must have been kept. A seed reproduces its history.
#include <set>

#include "common/base/log.h"
#include "common/base/rng.h"
#include "common/base/sha256.h"
#include "gtest/gtest.h"
#include "tests/coordinator/job/world.h"

namespace merganser {
namespace {

using Fault = FaultyStore::Fault;

JobSpec Spec(const std::string& name) {
  JobSpec spec = SphereSpec(name);
  spec.max_attempts = 20;  // so that no candidate fails and the search must equal the undisturbed one
  return spec;
}

std::vector<Candidate> Undisturbed(const std::string& name) {
  World world;
  world.AddWorker("w", 2);
  const std::string id = world.Submit(Spec(name)).id;
  world.Run(id);
  return world.Candidates(id);
}

class Simulation {
 public:
  explicit Simulation(uint64_t seed) : rng_(seed, 0) {
    SetStoreFaults(true);
    for (int i = 0; i < 3; ++i) AddWorker();
  }

  void Run() {
    for (const char* name : {"a", "b"}) {
      absl::StatusOr<JobSummary> job = absl::UnavailableError("");
      for (int i = 0; i < 1000 && !job.ok(); ++i) {
        job = world_.loop->CreateJob(name, Spec(name));
        Tick(1);
      }
      ASSERT_TRUE(job.ok()) << job.status();
      jobs_.push_back(job->id);
    }
    for (int step = 0; step < 150; ++step) Step();
    // Faults stop.
    SetStoreFaults(false);
    AddWorker();
    Tick(6);
    if (!world_.loop->leading()) Restart();
    for (const std::string& job : jobs_) world_.Run(job);
    for (const AttemptReport& report : sent_) (void)world_.loop->ReportAttempt(report);
  }

  // I1-I4, I6, I10-I12 of the design's list.
  void Check(const std::vector<Candidate>& undisturbed) {
    for (const std::string& id : jobs_) {
      SCOPED_TRACE(id);
      const JobSummary job = world_.Summary(id);
      EXPECT_EQ(job.phase, JobPhase::kSucceeded) << job.message;                // I10
      EXPECT_EQ(job.search_finished, 14);                                       // I4
      JobState replayed(id, job.spec);
      std::map<int64_t, int> terminal;
      std::map<int64_t, std::string> committed;
      const JobManager::EventBatch batch = *world_.loop->EventsAfter(id, 0);
      for (const auto& [seq, event] : batch.events) {
        const absl::Status fits = replayed.Apply(seq, event);
        ASSERT_TRUE(fits.ok()) << fits;
        const auto* finished = std::get_if<CandidateFinished>(&event.body);
        if (finished == nullptr) continue;
        ++terminal[finished->candidate];
        committed[finished->candidate] = finished->record_key;
        const Candidate& candidate = *replayed.Find(finished->candidate);
        const Attempt& attempt = candidate.attempts.at(finished->attempt - 1);
        EXPECT_EQ(finished->record_key,
                  RecordKey(id, finished->candidate, finished->attempt, attempt.token));
        EXPECT_EQ(Sha256Hex(*world_.memory.GetRecord(finished->record_key)),
                  finished->record_sha256);                                     // I12
      }
      EXPECT_TRUE(replayed == *world_.loop->StateOf(id));                        // I8
      for (const auto& [number, times] : terminal) EXPECT_EQ(times, 1);          // I1
      for (const auto& [acked_job, number, key] : acked_) {
        if (acked_job == id) {
          EXPECT_EQ(committed[number], key);  // I2
        }
      }
      const std::vector<Candidate> candidates = world_.Candidates(id);
      ASSERT_EQ(candidates.size(), undisturbed.size());
      for (size_t i = 0; i < candidates.size(); ++i) {
        EXPECT_LE(CountedAttempts(candidates[i]), 20);                           // I6
        EXPECT_EQ(candidates[i].genome, undisturbed[i].genome) << i;             // I3, I11
        EXPECT_EQ(candidates[i].fitness, undisturbed[i].fitness) << i;
      }
    }
  }

 private:
  int Draw(int n) { return static_cast<int>(rng_.NextU64() % static_cast<uint64_t>(n)); }

  void SetStoreFaults(bool on) {
    world_.store.fault = [this, on](absl::string_view) {
      const int draw = on ? Draw(40) : 40;
      return draw == 0 ? Fault::kBefore : draw == 1 ? Fault::kAfter : Fault::kNone;
    };
  }

  void AddWorker() {
    auto worker = std::make_shared<FakeWorker>("w-" + std::to_string(++born_));
    if (world_.Connect(worker, 1 + Draw(2)).ok()) world_.workers[worker->id] = worker;
  }

  void Tick(int seconds) {
    for (int i = 0; i < seconds; ++i) {
      world_.clock.Advance(absl::Seconds(1));
      for (auto& [id, worker] : world_.workers) {
        world_.loop->WorkerHeartbeat(id, worker->running(), worker->draining);
      }
      world_.loop->Tick();
    }
    if (!world_.loop->leading()) Restart();
  }

  void Restart() {
    world_.loop = std::make_unique<JobLoop>(&world_.store, &ProtoJobCodec(), &world_.clock, nullptr, world_.options);
    for (int i = 0; i < 1000 && !world_.loop->Start().ok(); ++i) world_.clock.Advance(absl::Seconds(1));
    ASSERT_TRUE(world_.loop->leading());
    for (auto it = world_.workers.begin(); it != world_.workers.end();) {
      it->second->sent_away = false;
      it = world_.Connect(it->second).ok() ? std::next(it) : world_.workers.erase(it);
    }
  }

  void Send(const AttemptReport& report) {
    const absl::StatusOr<Disposition> disposition = world_.loop->ReportAttempt(report);
    if (disposition.ok() && *disposition == Disposition::kCommitted && !report.failure.has_value()) {
      acked_.emplace_back(report.id.job_id, report.id.candidate, report.record_key);
    }
  }

  FakeWorker* AnyWorker() {
    if (world_.workers.empty()) return nullptr;
    return std::next(world_.workers.begin(), Draw(static_cast<int>(world_.workers.size())))->second.get();
  }

  void Step() {
    FakeWorker* worker = AnyWorker();
    switch (worker == nullptr ? 9 : Draw(14)) {
      case 0: case 1: case 2: case 3: case 4: {  // evaluates and reports
        if (worker->held.empty()) break;
        const Assignment assignment = worker->held.front();
        absl::StatusOr<AttemptReport> report = world_.Evaluate(*worker, assignment);
        if (!report.ok()) break;
        sent_.push_back(*report);
        worker->Drop(assignment.id);
        Send(*report);
        break;
      }
      case 5:  // records, and dies before it reports
        if (!worker->held.empty()) {
          absl::StatusOr<AttemptReport> report = world_.Evaluate(*worker, worker->held.front());
          if (report.ok()) sent_.push_back(*report);  // may still arrive, much later
        }
        [[fallthrough]];
      case 6: {  // dies; the coordinator hears of it, or does not
        const std::string id = worker->id;
        const WorkerLink* link = worker;
        auto keep = world_.workers[id];
        world_.workers.erase(id);
        if (Draw(2) == 0) world_.loop->WorkerDisconnected(id, link, Draw(2) == 0);
        break;
      }
      case 7: {  // its session breaks and comes back
        const std::string id = worker->id;
        world_.loop->WorkerDisconnected(id, worker, false);
        if (!world_.Connect(world_.workers[id]).ok()) world_.workers.erase(id);
        break;
      }
      case 8:  // gives up or gives back
        if (!worker->held.empty()) {
          const Assignment a = worker->held.front();
          worker->Drop(a.id);
          Send({.id = a.id, .token = a.token, .worker_id = worker->id,
                .failure = Draw(2) == 0 ? FailureClass::kTransient : FailureClass::kReleased});
        }
        break;
      case 9:
        if (world_.workers.size() < 4) AddWorker();
        break;
      case 10:
        if (!sent_.empty()) Send(sent_[Draw(static_cast<int>(sent_.size()))]);
        break;
      case 11:  // a message to it is lost
        if (!worker->held.empty()) worker->held.pop_back();
        break;
      case 12:
        if (Draw(3) == 0) Restart();
        break;
      case 13:
        Tick(Draw(20));
        break;
    }
    Tick(Draw(3));
  }

  Rng rng_;
  World world_;
  int born_ = 0;
  std::vector<std::string> jobs_;
  std::vector<AttemptReport> sent_;
  std::vector<std::tuple<std::string, int64_t, std::string>> acked_;
};

TEST(SimulationTest, EveryPromiseHoldsInRandomHistories) {
  SetLogLevel(LogLevel::kError);  // the faults would fill the terminal
  const std::vector<Candidate> undisturbed = Undisturbed("a");
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Simulation simulation(seed);
    simulation.Run();
    simulation.Check(undisturbed);
    if (HasFailure()) break;
  }
}

}  // namespace
}  // namespace merganser
