#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/sha256.h"
#include "tests/coordinator/job/world.h"
#include "tests/simulation/sim_parts.h"

namespace merganser {
namespace {

constexpr absl::Duration kHeartbeat = absl::Seconds(5);
constexpr absl::Duration kKeepalive = absl::Seconds(15);  // until a half-open connection is noticed
constexpr absl::Duration kReportTimeout = absl::Seconds(10);
constexpr size_t kQueueMax = 8;

}  // namespace

void Simulation::Hire() {
  auto worker = std::make_unique<Worker>();
  worker->index = static_cast<int>(workers_.size());
  worker->id = absl::StrCat("w-", worker->index);
  worker->slots = 1 + Draw(2);
  worker->up = true;
  Trace(absl::StrCat("hire ", worker->id));
  const int w = worker->index;
  workers_.push_back(std::move(worker));
  // Results that another worker left on this disk.
  for (std::string& record : std::exchange(spool_, {})) {
    const RecordSummary summary = *ProtoJobCodec().DecodeRecord(record);
    Result result;
    result.report.id = {summary.job_id, summary.candidate, summary.attempt};
    result.report.token = summary.token;
    result.report.worker_id = workers_[w]->id;
    result.report.record_key = RecordKey(summary.job_id, summary.candidate, summary.attempt, summary.token);
    result.report.record_sha256 = Sha256Hex(record);
    workers_[w]->on_disk[result.report.record_key] = record;
    result.record = std::move(record);
    Store(w, 0, std::move(result));
  }
  Dial(w);
}

void Simulation::Fire(int w, bool spool_survives) {
  Worker& worker = *workers_[w];
  if (!worker.up) return;
  Trace(absl::StrCat("dead ", worker.id));
  worker.up = false;
  ++worker.life;
  if (spool_survives) {
    for (auto& [key, record] : worker.on_disk) spool_.push_back(record);
  }
  if (worker.session >= 0) {
    sessions_[worker.session]->worker_end = false;
    Break(worker.session, /*both_notice=*/Draw(3) != 0);
  }
  At(Between(absl::Seconds(1), absl::Seconds(10)), [this] { Hire(); });
}

void Simulation::OnWorker(int w, int life, std::function<void(Worker&)> step) {
  workers_[w]->inbox.emplace_back(life, std::move(step));
  DrainWorker(w);
}

void Simulation::DrainWorker(int w) {
  Worker& worker = *workers_[w];
  while (!worker.inbox.empty()) {
    const absl::Duration now = clock_.Monotonic();
    if (worker.up && now < worker.frozen_until) {
      if (std::exchange(worker.inbox_due, true)) return;
      At(worker.frozen_until - now, [this, w] {
        workers_[w]->inbox_due = false;
        DrainWorker(w);
      });
      return;
    }
    const auto [life, step] = std::move(worker.inbox.front());
    worker.inbox.pop_front();
    if (worker.up && worker.life == life) step(worker);
  }
}

// --- the session --------------------------------------------------------------------------------

void Simulation::Dial(int w) {
  const int life = workers_[w]->life;
  OnWorker(w, life, [this, w, life](Worker& worker) {
    if (worker.session >= 0) return;
    const int c = Draw(static_cast<int>(coordinators_.size()));
    const absl::Duration again = Between(absl::Milliseconds(500), absl::Seconds(4));
    if (coordinators_[c]->loop == nullptr || clock_.Monotonic() < worker.cut_from_coordinator_until) {
      At(again, [this, w, life] { OnWorker(w, life, [this, w](Worker&) { Dial(w); }); });
      return;
    }
    auto session = std::make_unique<Session>();
    session->id = static_cast<int>(sessions_.size());
    session->worker = w;
    session->worker_life = life;
    session->coordinator = c;
    session->coordinator_life = coordinators_[c]->life;
    session->link = std::make_shared<Link>(this, session->id);
    worker.session = session->id;
    const int id = session->id;
    sessions_.push_back(std::move(session));
    const std::vector<RunningAttempt> running = RunningOf(worker);
    ToCoordinator(id, [this, id, running](Coordinator& coordinator, Session& s) {
      const Worker& dialer = *workers_[s.worker];
      const WorkerInfo info{.id = dialer.id, .name = dialer.id, .slots = dialer.slots};
      const absl::Status welcome = coordinator.loop->WorkerConnected(info, running, s.link);
      Trace(absl::StrCat("hello ", dialer.id, " ", welcome.ok()));
      if (!welcome.ok()) {
        s.coordinator_end = false;
        Break(id, /*both_notice=*/true);
      }
    });
    Beat(w, life);
  });
}

// Both ends hear of it at once, or each by its keepalive.
void Simulation::Break(int id, bool both_notice) {
  const absl::Duration delay = both_notice ? absl::Milliseconds(20) : kKeepalive;
  At(delay, [this, id] {
    Session& session = *sessions_[id];
    if (session.worker_end) {
      session.worker_end = false;
      OnWorker(session.worker, session.worker_life, [this, id](Worker& worker) {
        if (worker.session != id) return;
        worker.session = -1;
        const int w = worker.index;
        At(Between(absl::Milliseconds(500), absl::Seconds(2)), [this, w] { Dial(w); });
      });
    }
    if (session.coordinator_end) {
      session.coordinator_end = false;
      OnLoop(session.coordinator, session.coordinator_life, [this, id](Coordinator& coordinator) {
        const Session& s = *sessions_[id];
        coordinator.loop->WorkerDisconnected(workers_[s.worker]->id, s.link.get(), /*gone=*/false);
        coordinator.loop->Tick();
      });
    }
  });
}

void Simulation::ToWorker(int id, std::function<void(Worker&)> message) {
  Session& session = *sessions_[id];
  if (!session.worker_end || !session.coordinator_end) return;
  const absl::Duration now = clock_.Monotonic();
  if (now < workers_[session.worker]->cut_from_coordinator_until) return;
  if (faulty_ && Draw(60) == 0) {  // stricter than a stream: a single message may be lost
    ++faults_["message to a worker lost"];
    return;
  }
  session.to_worker = std::max(session.to_worker, now + Between(absl::Milliseconds(1), absl::Milliseconds(200)));
  At(session.to_worker - now, [this, id, message = std::move(message)] {
    const Session& s = *sessions_[id];
    if (!s.worker_end) return;
    OnWorker(s.worker, s.worker_life, [id, message](Worker& worker) {
      if (worker.session == id) message(worker);
    });
  });
}

void Simulation::ToCoordinator(int id, std::function<void(Coordinator&, Session&)> message) {
  Session& session = *sessions_[id];
  if (!session.worker_end) return;
  const absl::Duration now = clock_.Monotonic();
  if (now < workers_[session.worker]->cut_from_coordinator_until) return;
  session.to_coordinator = std::max(session.to_coordinator, now + Between(absl::Milliseconds(1), absl::Milliseconds(200)));
  At(session.to_coordinator - now, [this, id, message = std::move(message)] {
    const Session& s = *sessions_[id];
    if (!s.coordinator_end) return;
    OnLoop(s.coordinator, s.coordinator_life, [this, id, message](Coordinator& coordinator) {
      Session& open = *sessions_[id];
      if (!open.coordinator_end) return;
      message(coordinator, open);
      coordinator.loop->Tick();
    });
  });
}

void Simulation::Beat(int w, int life) {
  OnWorker(w, life, [this, w, life](Worker& worker) {
    const int id = worker.session;
    if (id < 0) return;
    const bool draining = worker.draining;
    ToCoordinator(id, [this, running = RunningOf(worker), draining](Coordinator& coordinator, Session& session) {
      coordinator.loop->WorkerHeartbeat(workers_[session.worker]->id, running, draining);
      session.draining_known |= draining;
    });
    At(kHeartbeat, [this, w, life, id] {
      OnWorker(w, life, [this, w, life, id](Worker& now) {
        if (now.session == id) Beat(w, life);
      });
    });
  });
}

void Simulation::Link::Assign(const Assignment& assignment) {
  Simulation& sim = simulation_;
  const Session& session = *sim.sessions_[session_];
  if (session.draining_known) {
    sim.Find("I9", assignment.id.job_id,
             absl::StrCat("candidate ", assignment.id.candidate, " goes to a worker that said it drains"));
  }
  sim.ToWorker(session_, [&sim, assignment](Worker& worker) {
    if (worker.held.count(assignment.token) != 0) return;
    worker.held[assignment.token] = {assignment.id, assignment.token, "queued"};
    if (worker.draining || worker.queue.size() >= kQueueMax) {
      Result result;
      result.report = {
          .id = assignment.id, .token = assignment.token, .worker_id = worker.id, .failure = FailureClass::kReleased};
      sim.Report(worker.index, worker.life, std::move(result));
      return;
    }
    worker.queue.push_back(assignment);
    sim.StartNext(worker.index);
  });
}

void Simulation::Link::Cancel(const AttemptId& id) {
  Simulation& sim = simulation_;
  sim.ToWorker(session_, [id](Worker& worker) {
    std::erase_if(worker.queue, [&](const Assignment& a) { return a.id == id; });
    std::erase_if(worker.held, [&](const auto& h) { return h.second.id == id && h.second.phase != "record"; });
  });
}

void Simulation::Link::Drain() {
  simulation_.ToWorker(session_, [](Worker& worker) { worker.draining = true; });
}

void Simulation::Link::Acknowledge(const std::vector<RunningAttempt>& unknown) {
  for (const RunningAttempt& attempt : unknown) Cancel(attempt.id);
}

void Simulation::Link::GoAway(absl::Duration) {
  Session& session = *simulation_.sessions_[session_];
  if (!session.coordinator_end) return;
  session.coordinator_end = false;
  simulation_.Break(session_, /*both_notice=*/true);
}

// --- the work -----------------------------------------------------------------------------------

std::vector<RunningAttempt> Simulation::RunningOf(const Worker& worker) const {
  std::vector<RunningAttempt> running;
  for (const auto& [token, attempt] : worker.held) running.push_back(attempt);
  std::sort(running.begin(), running.end(), [](const RunningAttempt& a, const RunningAttempt& b) {
    return std::tie(a.id.job_id, a.id.candidate, a.id.attempt) < std::tie(b.id.job_id, b.id.candidate, b.id.attempt);
  });
  return running;
}

void Simulation::StartNext(int w) {
  Worker& worker = *workers_[w];
  if (worker.queue.empty() || worker.evaluating >= worker.slots) return;
  const Assignment assignment = worker.queue.front();
  worker.queue.pop_front();
  ++worker.evaluating;
  worker.held[assignment.token].phase = "evaluate";
  const int life = worker.life;
  const int draw = faulty_ ? Draw(25) : 25;
  // A file that is broken until somebody mends it: the job fails with its preparation, and is resumed.
  const bool broken = faulty_ && assignment.kind == CandidateKind::kPrepare && Draw(2) == 0;
  absl::Duration takes = Between(absl::Seconds(1), absl::Seconds(20));
  if (draw == 2) {  // until it is killed, 30 s after it was told to stop
    ++faults_["evaluation hangs"];
    takes = absl::Seconds(60);
  }
  At(takes, [this, w, life, assignment, draw, broken] {
    OnWorker(w, life, [this, w, life, assignment, draw, broken](Worker& self) {
      --self.evaluating;
      StartNext(w);
      const auto held = self.held.find(assignment.token);
      if (held == self.held.end()) return;  // cancelled
      held->second.phase = "record";
      Result result;
      result.report = {.id = assignment.id, .token = assignment.token, .worker_id = self.id};
      if (draw < 2) {
        ++faults_["attempt fails"];
        result.report.failure = draw == 0 ? FailureClass::kTransient : FailureClass::kReleased;
        Report(w, life, std::move(result));
        return;
      }
      if (broken) {
        ++faults_["job fails"];
        result.report.failure = FailureClass::kInfeasible;
        Report(w, life, std::move(result));
        At(Between(absl::Seconds(1), absl::Seconds(30)), [this, job = assignment.id.job_id] { Pause(job, false); });
        return;
      }
      result.record = HonestRecord(assignment);
      result.report.record_key = assignment.record_key;
      result.report.record_sha256 = Sha256Hex(result.record);
      Store(w, life, std::move(result));
    });
  });
}

void Simulation::Store(int w, int life, Result result) {
  OnWorker(w, life, [this, w, life, result = std::move(result)](Worker& worker) mutable {
    const bool away = clock_.Monotonic() < store_away_until_ || clock_.Monotonic() < worker.cut_from_store_until;
    const int draw = faulty_ ? Draw(30) : 30;
    const std::string key = result.report.record_key;
    const std::string bytes = result.record;
    absl::Status put = absl::UnavailableError("the store is away");
    if (!away && draw != 0) {
      put = store_.Write([key, bytes](ResultsStore& s) { return s.PutRecord(key, bytes); }, draw != 1);
      if (draw == 1) put = absl::UnavailableError("the answer was lost");
    }
    if (put.ok()) {
      result.stored = true;
      result.tries = 0;
      Report(w, life, std::move(result));
      return;
    }
    worker.on_disk[key] = bytes;
    const absl::Duration wait = std::min(absl::Milliseconds(500) * (1 << std::min(result.tries++, 5)), absl::Seconds(15));
    At(wait, [this, w, life, result] { Store(w, life, result); });
  });
}

void Simulation::Report(int w, int life, Result result) {
  OnWorker(w, life, [this, w, life, result = std::move(result)](Worker& worker) mutable {
    const int tries = result.tries++;
    const absl::Duration again = std::min(absl::Milliseconds(500) * (1 << std::min(tries, 5)), absl::Seconds(15));
    const auto retry = [this, w, life, result](absl::Duration wait) {
      At(wait, [this, w, life, result] { Report(w, life, result); });
    };
    const int session = worker.session;
    // To the coordinator that it knows; without one to any, which refuses if it does not lead.
    const int c = session >= 0 ? sessions_[session]->coordinator : Draw(static_cast<int>(coordinators_.size()));
    const bool cut = clock_.Monotonic() < worker.cut_from_coordinator_until;
    if (cut || coordinators_[c]->loop == nullptr || (faulty_ && Draw(30) == 0)) {
      retry(cut ? kReportTimeout : again);
      return;
    }
    auto answered = std::make_shared<bool>(false);
    const AttemptReport report = result.report;
    const int coordinator_life = coordinators_[c]->life;
    if (faulty_) sent_.push_back(report);
    const int copies = faulty_ && Draw(20) == 0 ? 2 : 1;
    for (int copy = 0; copy < copies; ++copy) {
      At(Between(absl::Milliseconds(1), absl::Milliseconds(300)),
         [this, c, coordinator_life, report, w, life, answered, again, retry] {
           OnLoop(c, coordinator_life, [=, this](Coordinator& coordinator) {
             const absl::StatusOr<Disposition> disposition = coordinator.loop->ReportAttempt(report);
             Trace(absl::StrCat("report ", report.worker_id, " ", report.id.job_id, "/", report.id.candidate, "#",
                                report.id.attempt, " ", disposition.ok() ? ToString(*disposition) : "error"));
             coordinator.loop->Tick();
             if (faulty_ && Draw(30) == 0) return;  // the answer is lost
             At(Between(absl::Milliseconds(1), absl::Milliseconds(100)),
                [this, w, life, report, disposition, answered, again, retry] {
                  OnWorker(w, life, [=, this](Worker& self) {
                    if (std::exchange(*answered, true)) return;
                    if (!disposition.ok()) {
                      retry(again);
                      return;
                    }
                    if (*disposition == Disposition::kCommitted && !report.failure.has_value()) {
                      acked_.push_back({report.id.job_id, report.id.candidate, report.record_key});
                    }
                    self.held.erase(report.token);
                    self.on_disk.erase(report.record_key);
                  });
                });
           });
         });
    }
    At(kReportTimeout, [this, w, life, answered, retry] {
      OnWorker(w, life, [=](Worker&) {
        if (!std::exchange(*answered, true)) retry(absl::ZeroDuration());
      });
    });
  });
}

}  // namespace merganser
