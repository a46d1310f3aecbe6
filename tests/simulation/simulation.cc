#include "tests/simulation/simulation.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/codec/job_codec.h"
#include "tests/simulation/sim_parts.h"

namespace merganser {
namespace {

constexpr int kCoordinators = 2;
constexpr int kWorkers = 3;
constexpr absl::Duration kFaults = absl::Minutes(2);  // faults happen this long
constexpr absl::Duration kQuiet = absl::Minutes(30);  // then the jobs have this long: they need about three minutes
constexpr absl::Duration kReplicaEvery = absl::Seconds(1);
constexpr size_t kWorkersMax = 200;  // hired in one history; bounds a seed's time

}  // namespace

Simulation::Simulation(const SimulationOptions& options)
    : options_(options), rng_(options.seed, 0x51), start_(clock_.Monotonic()), store_(&clock_) {
  for (int c = 0; c < kCoordinators; ++c) {
    coordinators_.push_back(std::make_unique<Coordinator>());
    coordinators_.back()->index = c;
  }
}

Simulation::~Simulation() {
  // Loops say goodbye through links that look into this object.
  for (const auto& coordinator : coordinators_) coordinator->loop.reset();
}

absl::Duration Simulation::Between(absl::Duration low, absl::Duration high) {
  return low + absl::Milliseconds(Draw(1 + static_cast<int>((high - low) / absl::Milliseconds(1))));
}

void Simulation::At(absl::Duration delay, std::function<void()> step) {
  later_.push({clock_.Monotonic() + std::max(delay, absl::ZeroDuration()), ++steps_, std::move(step)});
}

void Simulation::RunUntil(absl::Duration time) {
  while (!done_ && !later_.empty() && later_.top().at <= time) {
    Later next = later_.top();
    later_.pop();
    if (next.at > clock_.Monotonic()) clock_.Advance(next.at - clock_.Monotonic());
    next.step();
  }
  if (time > clock_.Monotonic()) clock_.Advance(time - clock_.Monotonic());
}

void Simulation::Trace(const std::string& line) {
  const std::string full = absl::StrCat(absl::FormatDuration(passed()), " ", line);
  digest_ = StableHash64(full, digest_ ^ 0xcbf29ce484222325u);
  if (options_.trace) std::fprintf(stderr, "%s\n", full.c_str());
}

void Simulation::Find(const std::string& invariant, const std::string& job, const std::string& message) {
  Trace(absl::StrCat("BROKEN ", invariant, " ", message));
  findings_.push_back({invariant, job, 0, message});
}

// One fault, and when the next one comes.
void Simulation::Inject() {
  if (!faulty_) return;
  At(Between(absl::Milliseconds(300), absl::Seconds(6)), [this] { Inject(); });
  const absl::Duration now = clock_.Monotonic();
  Coordinator& coordinator = *coordinators_[Draw(kCoordinators)];
  std::vector<int> up;
  for (const auto& worker : workers_) {
    if (worker->up) up.push_back(worker->index);
  }
  Worker* worker = up.empty() ? nullptr : workers_[up[Draw(static_cast<int>(up.size()))]].get();
  const auto count = [&](const std::string& kind) {
    ++faults_[kind];
    Trace(kind);
  };
  const int kind = Draw(15);
  if (worker == nullptr && kind >= 6 && kind <= 10) return;
  switch (kind) {
    case 0:
      count("coordinator killed");
      Kill(coordinator.index);
      break;
    case 1:
      count("coordinator frozen");
      coordinator.frozen_until = now + Between(absl::Seconds(1), absl::Seconds(40));
      break;
    case 2:
      count("coordinator cut from the store");
      coordinator.cut_until = now + Between(absl::Seconds(1), absl::Seconds(20));
      break;
    case 3:
      count("store away");
      store_away_until_ = now + Between(absl::Milliseconds(500), absl::Seconds(15));
      break;
    case 4:
      count("store killed");
      store_.Crash();
      store_away_until_ = now + Between(absl::Milliseconds(500), absl::Seconds(5));
      break;
    case 5:
      if (!options_.failovers || Draw(3) != 0) break;
      count("store fails over");
      lost_writes_ |= store_.FailOver();
      store_away_until_ = now + Between(absl::Milliseconds(500), absl::Seconds(5));
      break;
    case 6:
      count("worker killed");
      if (workers_.size() < kWorkersMax) Fire(worker->index, /*spool_survives=*/Draw(2) == 0);
      break;
    case 7:
      count("worker frozen");
      worker->frozen_until = now + Between(absl::Seconds(1), absl::Seconds(60));
      break;
    case 8:
      count("worker cut from the store");
      worker->cut_from_store_until = now + Between(absl::Seconds(1), absl::Seconds(40));
      break;
    case 9:
      count("worker cut from the coordinators");
      worker->cut_from_coordinator_until = now + Between(absl::Seconds(1), absl::Seconds(50));
      if (worker->session >= 0) Break(worker->session, /*both_notice=*/false);
      break;
    case 10: {
      count("worker drains");
      worker->draining = true;
      for (const Assignment& assignment : std::exchange(worker->queue, {})) {
        Result result;
        result.report = {
            .id = assignment.id, .token = assignment.token, .worker_id = worker->id, .failure = FailureClass::kReleased};
        Report(worker->index, worker->life, std::move(result));
      }
      // It leaves after its grace, finished or not, as a pod does.
      At(Between(absl::Seconds(5), absl::Seconds(30)), [this, w = worker->index, life = worker->life] {
        OnWorker(w, life, [this, w](Worker&) { Fire(w, /*spool_survives=*/true); });
      });
      break;
    }
    case 11:
      if (sent_.empty()) break;
      count("old report repeated");
      OnLoop(coordinator.index, coordinator.life, [report = sent_[Draw(static_cast<int>(sent_.size()))]](Coordinator& c) {
        (void)c.loop->ReportAttempt(report);
        c.loop->Tick();
      });
      break;
    case 13:
      if (job_ids_.empty()) break;
      count("job paused");
      Pause(job_ids_[Draw(static_cast<int>(job_ids_.size()))], true);
      break;
    case 14: {
      if (job_ids_.empty()) break;
      count("job updated");
      JobUpdate update{.fields = {"priority"}};
      update.values.priority = Draw(3);
      OnLoop(coordinator.index, coordinator.life,
             [update, job = job_ids_[Draw(static_cast<int>(job_ids_.size()))]](Coordinator& c) {
               (void)c.loop->UpdateJob(job, update, "somebody");
               c.loop->Tick();
             });
      break;
    }
    case 12:
      if (worker == nullptr || worker->session < 0) break;
      count("session broken");
      Break(worker->session, /*both_notice=*/true);
      break;
  }
  trouble_until_ = std::max({trouble_until_, now, store_away_until_, coordinator.cut_until, coordinator.frozen_until});
}

// A person who asks whoever leads until it is done, and who lets a paused job go on after a while; a failed one, too.
void Simulation::Pause(const std::string& job, bool pause) {
  Coordinator* const leader = Leader();
  auto done = std::make_shared<bool>(false);  // the step may run later
  if (leader != nullptr) {
    OnLoop(leader->index, leader->life, [done, job, pause](Coordinator& c) {
      const auto answer = pause ? c.loop->PauseJob(job, "somebody") : c.loop->ResumeJob(job, "somebody");
      *done = answer.ok() || absl::IsFailedPrecondition(answer.status());
      c.loop->Tick();
    });
  }
  At(pause ? Between(absl::Seconds(1), absl::Seconds(20)) : absl::Seconds(1), [this, job, pause, done] {
    if (pause || !*done) Pause(job, false);
  });
}

void Simulation::Heal() {
  Trace("faults stop");
  faulty_ = false;
  store_away_until_ = absl::ZeroDuration();
  for (const auto& coordinator : coordinators_) coordinator->cut_until = absl::ZeroDuration();
  for (const auto& worker : workers_) {
    worker->cut_from_store_until = worker->cut_from_coordinator_until = absl::ZeroDuration();
  }
  Hire();
  // A failover may have taken the word that a job goes on; who finds it paused says so again.
  for (const std::string& job : job_ids_) Pause(job, false);
}

// I5: a running candidate has a lease that lives, or one that ended a moment ago.
void Simulation::CheckRunning() {
  Coordinator* const leader = Leader();
  const absl::Duration now = clock_.Monotonic();
  const JobManagerOptions options;
  const absl::Duration bound = 2 * options.lease + options.reattach_window;
  if (leader == nullptr || now < leader->frozen_until || now - leader->led_since < bound || now - trouble_until_ < bound) {
    return;
  }
  for (const std::string& id : job_ids_) {
    const JobState* const state = leader->loop->StateOf(id);
    if (state == nullptr) continue;
    for (const int64_t number : state->running()) {
      if (!leader->loop->HasLease(id, number)) {
        Find("I5", id, absl::StrCat("candidate ", number, " runs without a lease"));
      }
    }
  }
}

void Simulation::CheckEnd() {
  const std::vector<StoredJob> jobs = *store_.live().ListJobs();
  for (const StoredJob& job : jobs) {
    HistoryOptions options;
    options.must_be_over = true;
    options.acked = acked_;
    // Records that a failover took are gone: nobody but a worker's spool had them.
    options.records = !lost_writes_;
    const HistoryReport report = *CheckHistory(&store_.live(), ProtoJobCodec(), job, options);
    for (const HistoryFinding& finding : report.findings) Find(finding.invariant, finding.job_id, ToString(finding));
  }
  if (Coordinator* leader = Leader(); leader != nullptr) CompareReplay(*leader);
}

std::vector<Candidate> Simulation::CandidatesOf(size_t i) {
  Coordinator* const leader = Leader();
  const JobState* const state = leader == nullptr || i >= job_ids_.size() ? nullptr : leader->loop->StateOf(job_ids_[i]);
  return state == nullptr ? std::vector<Candidate>{} : state->candidates();
}

void Simulation::Run(const std::vector<JobSpec>& specs) {
  for (int c = 0; c < kCoordinators; ++c) Boot(c);
  for (int i = 0; i < kWorkers; ++i) Hire();
  // Submitting is a client's loop: the same request until it is answered.
  for (const JobSpec& spec : specs) {
    for (std::string id; id.empty();) {
      RunUntil(clock_.Monotonic() + absl::Milliseconds(500));
      Coordinator* const leader = Leader();
      if (leader == nullptr) continue;
      const absl::StatusOr<JobSummary> job = leader->loop->CreateJob(spec.name, spec);
      if (job.ok()) job_ids_.push_back(id = job->id);
    }
  }
  store_.Replicate();
  faulty_ = true;
  const absl::Duration faults_end = clock_.Monotonic() + kFaults;
  At(absl::Seconds(1), [this] { Inject(); });
  absl::Duration replica_at = clock_.Monotonic();
  while (clock_.Monotonic() < faults_end) {
    RunUntil(clock_.Monotonic() + absl::Seconds(1));
    if (clock_.Monotonic() >= replica_at) {
      store_.Replicate();
      replica_at = clock_.Monotonic() + kReplicaEvery;
    }
    CheckRunning();
  }
  Heal();
  const auto over = [&] {
    Coordinator* const leader = Leader();
    return leader != nullptr && std::all_of(job_ids_.begin(), job_ids_.end(), [&](const std::string& id) {
             const JobState* state = leader->loop->StateOf(id);
             return state != nullptr && state->over() && state->phase() != JobPhase::kFailed;
           });
  };
  // What made a job fail is mended, so whoever finds one that has resumes it.
  const auto resume_failed = [&] {
    Coordinator* const leader = Leader();
    for (const std::string& id : job_ids_) {
      const JobState* state = leader == nullptr ? nullptr : leader->loop->StateOf(id);
      if (state != nullptr && state->phase() == JobPhase::kFailed) Pause(id, false);
    }
  };
  const absl::Duration end = clock_.Monotonic() + kQuiet;
  while (!over() && clock_.Monotonic() < end) {
    RunUntil(clock_.Monotonic() + absl::Seconds(5));
    CheckRunning();
    resume_failed();
  }
  RunUntil(clock_.Monotonic() + absl::Minutes(1));  // late reports and sleepers arrive
  CheckEnd();
}

}  // namespace merganser
