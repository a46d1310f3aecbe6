// The part of JobLoop that deals with workers: sessions, leases, reports.
#include <algorithm>
#include <map>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "common/base/log.h"
#include "common/base/sha256.h"
#include "common/base/status_macros.h"
#include "coordinator/job/attempt_outcome.h"
#include "coordinator/job/job_loop.h"

namespace merganser {
namespace {

const Attempt* FindAttempt(const Candidate& candidate, int number) {
  if (number < 1 || number > static_cast<int>(candidate.attempts.size())) return nullptr;
  return &candidate.attempts[number - 1];
}

}  // namespace

// --- sessions ---------------------------------------------------------------------------------

absl::Status JobLoop::WorkerConnected(const WorkerInfo& info, const std::vector<RunningAttempt>& running,
                                      std::shared_ptr<WorkerLink> link) {
  MG_RETURN_IF_ERROR(Ready());
  if (info.id.empty()) return absl::InvalidArgumentError("worker.id: missing");
  if (info.slots < 1) {
    return absl::InvalidArgumentError(absl::StrCat("worker.slots: ", info.slots, " is below 1"));
  }
  const std::vector<AttemptId> spare = BegunWithout(info.id, running);
  const std::shared_ptr<WorkerLink> older = fleet_.Connect(info, link, clock_.Now(), clock_.Monotonic());
  if (older != nullptr && older != link) {
    MG_LOG(WARNING) << "worker session replaced worker=" << info.id << " name=" << info.name;
    older->GoAway(options_.lease);
    if (observer_ != nullptr) observer_->OnWorkerDisconnected("replaced");
  }
  Fleet::Worker& worker = *fleet_.Find(info.id);
  worker.running = running;
  link->Acknowledge(Touch(info.id, running));
  // It dials when its last stream has ended and names what it holds until that is reported: the rest never reached it.
  for (const Lease& lease : leases_.OfWorker(info.id)) {
    const auto names = [&](const RunningAttempt& attempt) { return attempt.id == lease.id && attempt.token == lease.token; };
    if (std::any_of(running.begin(), running.end(), names)) continue;
    leases_.Expire(lease.id, clock_.Monotonic(), lease.on_expiry, absl::StrCat("worker ", info.id, " came back without it"));
  }
  if (worker.drained) link->Drain();
  for (const AttemptId& id : spare) {
    Job& job = *job_by_id_.at(id.job_id);
    const Lease* const lease = leases_.Find(id);
    if (lease == nullptr || job.log.stalled() || job.log.damaged()) continue;
    const std::string holder = lease->worker;
    const std::string why = absl::StrCat("worker ", info.id, " came back with the attempt that it stood in for");
    if (!Commit(job, EndAttempt(job.log.state(), id.candidate, id.attempt, FailureClass::kReleased, why)).ok()) continue;
    const Fleet::Worker* const other = fleet_.Find(holder);
    if (other != nullptr && other->link != nullptr) other->link->Cancel(id);
  }
  dispatch_due_ = true;
  MG_LOG(INFO) << "worker connected worker=" << info.id << " name=" << info.name << " slots=" << info.slots
               << " running=" << running.size();
  return absl::OkStatus();
}

std::vector<AttemptId> JobLoop::BegunWithout(const std::string& worker_id, const std::vector<RunningAttempt>& running) {
  std::vector<AttemptId> spare;
  const Fleet::Worker* const worker = fleet_.Find(worker_id);
  for (const RunningAttempt& attempt : running) {
    const Lease* const lease = leases_.Find(attempt.id);
    if (lease == nullptr || lease->token != attempt.token || lease->worker != worker_id) continue;
    const absl::Duration away = clock_.Monotonic() - (worker != nullptr ? worker->last_heard : lease->last_listed);
    const Candidate& candidate = *job_by_id_.at(attempt.id.job_id)->log.state().Find(attempt.id.candidate);
    for (const Attempt& other : candidate.attempts) {
      if (other.ended || !other.speculative || other.number == attempt.id.attempt) continue;
      if (clock_.Now() - other.start_time >= away) continue;  // beside a straggler, whoever was connected
      spare.push_back({attempt.id.job_id, attempt.id.candidate, other.number});
    }
  }
  return spare;
}

std::vector<RunningAttempt> JobLoop::Touch(const std::string& worker_id, const std::vector<RunningAttempt>& running) {
  const absl::Duration now = clock_.Monotonic();
  std::vector<RunningAttempt> unknown;
  for (const RunningAttempt& attempt : running) {
    if (!leases_.Extend(attempt.id, attempt.token, worker_id, now, now + options_.lease, attempt.phase)) {
      unknown.push_back(attempt);
    }
  }
  // What it evaluates though it should not keeps its slot busy.
  std::map<std::string, absl::Duration> stopping;
  Fleet::Worker& worker = *fleet_.Find(worker_id);
  for (const RunningAttempt& attempt : unknown) {
    if (attempt.phase == "queued" || attempt.phase == "record") continue;
    const auto since = worker.stopping.find(attempt.token);
    stopping[attempt.token] = since == worker.stopping.end() ? now : since->second;
  }
  worker.stopping = std::move(stopping);
  return unknown;
}

void JobLoop::WorkerHeartbeat(const std::string& worker_id, const std::vector<RunningAttempt>& running, bool draining) {
  Fleet::Worker* worker = fleet_.Find(worker_id);
  if (!leadership_.held() || worker == nullptr || worker->link == nullptr) return;
  const absl::Duration now = clock_.Monotonic();
  worker->running = running;
  worker->draining = draining;
  worker->declined = false;
  worker->last_heard = now;
  worker->last_heartbeat_time = clock_.Now();
  worker->link->Acknowledge(Touch(worker_id, running));
  for (const Lease& lease : leases_.OfWorker(worker_id)) {
    if (now - lease.last_listed > kListGrace && lease.deadline > now) {
      leases_.Expire(lease.id, now, FailureClass::kWorkerLost, absl::StrCat("worker ", worker_id, " does not know of it"));
    }
  }
  dispatch_due_ = true;
}

void JobLoop::WorkerDisconnected(const std::string& worker_id, const WorkerLink* link, bool gone) {
  Fleet::Worker* worker = fleet_.Find(worker_id);
  // A session that was replaced ends late: it is not the worker's any more.
  if (worker == nullptr || (worker->link != nullptr && worker->link.get() != link)) return;
  if (observer_ != nullptr && worker->link != nullptr) observer_->OnWorkerDisconnected(gone ? "goodbye" : "lost");
  worker->link = nullptr;
  worker->last_heard = clock_.Monotonic();
  MG_LOG(INFO) << "worker disconnected worker=" << worker_id << " gone=" << gone;
  if (!gone) return;
  const FailureClass failure = worker->leaving() ? FailureClass::kReleased : FailureClass::kWorkerLost;
  for (const Lease& lease : leases_.OfWorker(worker_id)) {
    leases_.Expire(lease.id, clock_.Monotonic(), failure, absl::StrCat("worker ", worker_id, " left"));
  }
  quarantines_changed_ |= !worker->quarantine.empty() || worker->strikes > 0;
  fleet_.Remove(worker_id);
  health_.Forget(worker_id);
  dispatch_due_ = true;  // a candidate may have waited for another worker than this one
}

// --- records and reports ----------------------------------------------------------------------

absl::StatusOr<EventBody> JobLoop::ReadRecord(const Job& job, const Candidate& candidate, const Attempt& attempt,
                                              const std::string& sha256) {
  const std::string key = RecordKey(job.log.state().id(), candidate.number, attempt.number, attempt.token);
  MG_ASSIGN_OR_RETURN(const std::string bytes, store_.GetRecord(key));
  return ParseRecord(job, candidate, attempt, sha256, bytes);
}

absl::StatusOr<EventBody> JobLoop::ParseRecord(const Job& job, const Candidate& candidate, const Attempt& attempt,
                                               const std::string& sha256, const std::string& bytes) {
  const JobState& state = job.log.state();
  const std::string key = RecordKey(state.id(), candidate.number, attempt.number, attempt.token);
  const std::string actual = Sha256Hex(bytes);
  if (!sha256.empty() && sha256 != actual) {
    return absl::DataLossError(absl::StrCat("record ", key, ": sha256 is ", actual, ", reported ", sha256));
  }
  absl::StatusOr<RecordSummary> record = codec_.DecodeRecord(bytes);
  if (!record.ok()) {
    return absl::DataLossError(absl::StrCat("record ", key, ": ", record.status().message()));
  }
  if (record->job_id != state.id() || record->candidate != candidate.number || record->attempt != attempt.number ||
      record->token != attempt.token) {
    return absl::DataLossError(absl::StrCat("record ", key, ": it is of ", record->job_id, " candidate ", record->candidate,
                                            " attempt ", record->attempt));
  }
  absl::StatusOr<EventBody> result = FinishFromRecord(state, candidate, attempt.number, *record, key, actual);
  if (!result.ok()) return Annotate(result.status(), absl::StrCat("record ", key));
  return result;
}

absl::Status JobLoop::AdoptRecord(Job& job, int64_t number) {
  const Candidate& candidate = *job.log.state().Find(number);
  for (const Attempt& attempt : candidate.attempts) {
    if (job.log.state().IsPast(candidate, attempt)) continue;
    absl::StatusOr<EventBody> finished = ReadRecord(job, candidate, attempt, "");
    if (absl::IsNotFound(finished.status())) continue;
    if (absl::IsDataLoss(finished.status())) {
      MG_LOG(WARNING) << "record ignored job=" << job.log.state().id() << " reason=\"" << finished.status().message()
                      << "\"";
      continue;
    }
    MG_RETURN_IF_ERROR(finished.status());
    MG_LOG(INFO) << "unreported record adopted job=" << job.log.state().id() << " candidate=" << number
                 << " attempt=" << attempt.number;
    const std::string key = RecordKey(job.log.state().id(), number, attempt.number, attempt.token);
    std::vector<EventBody> events;
    events.emplace_back(*std::move(finished));
    return Commit(job, std::move(events), {key});
  }
  return absl::NotFoundError("no attempt left a record");
}

absl::StatusOr<Disposition> JobLoop::ReportAttempt(const AttemptReport& report) {
  bool late = false;
  absl::StatusOr<Disposition> disposition = Report(report, &late);
  if (!disposition.ok() || observer_ == nullptr) return disposition;
  observer_->OnReport(*disposition);
  if (late) observer_->OnLateResult(*disposition);
  return disposition;
}

absl::StatusOr<Disposition> JobLoop::Report(const AttemptReport& report, bool* late) {
  MG_RETURN_IF_ERROR(Ready());
  const auto reject = [&](absl::string_view why) {
    MG_LOG(WARNING) << "report rejected job=" << report.id.job_id << " candidate=" << report.id.candidate
                    << " attempt=" << report.id.attempt << " worker=" << report.worker_id << " reason=\"" << why << "\"";
    return Disposition::kRejected;
  };
  const auto it = job_by_id_.find(report.id.job_id);
  if (it == job_by_id_.end()) return reject("unknown job");
  Job& job = *it->second;
  // Its record stays in the store: whoever replays a log that was mended adopts it.
  if (job.log.damaged()) return Disposition::kSuperseded;
  if (job.log.stalled()) {
    // Before the checks: the stalled events may be about this very attempt.
    return absl::UnavailableError(absl::StrCat(report.id.job_id, ": the results store is away; retry"));
  }
  const Candidate* candidate = job.log.state().Find(report.id.candidate);
  if (candidate == nullptr) return reject("unknown candidate");
  const Attempt* attempt = FindAttempt(*candidate, report.id.attempt);
  if (attempt == nullptr) return reject("unknown attempt");
  if (attempt->token != report.token) return reject("wrong token");
  *late = attempt->ended && candidate->record_key != report.record_key;
  const std::string key = RecordKey(report.id.job_id, report.id.candidate, report.id.attempt, report.token);
  if (report.failure.has_value() == !report.record_key.empty()) {
    return reject("exactly one of record_key and failure must be set");
  }
  if (!report.failure.has_value() && report.record_key != key) return reject("record key of another attempt");
  if (IsTerminal(candidate->state)) {
    const bool same = report.failure.has_value() ? attempt->failure.has_value() : candidate->record_key == key;
    return same ? Disposition::kDuplicate : Disposition::kSuperseded;
  }
  if (report.failure.has_value()) return ReportFailure(job, report);
  if (job.log.state().IsPast(*candidate, *attempt))
    return attempt->scored ? Disposition::kDuplicate : Disposition::kSuperseded;
  return ReportRecord(job, *attempt, report);
}

absl::StatusOr<Disposition> JobLoop::ReportFailure(Job& job, const AttemptReport& report) {
  const Candidate& candidate = *job.log.state().Find(report.id.candidate);
  if (FindAttempt(candidate, report.id.attempt)->ended) return Disposition::kDuplicate;
  if (*report.failure == FailureClass::kReleased) {
    if (Fleet::Worker* worker = fleet_.Find(report.worker_id); worker != nullptr) {
      worker->declined = true;
    }
  }
  MG_RETURN_IF_ERROR(
      Commit(job, EndAttempt(job.log.state(), report.id.candidate, report.id.attempt, *report.failure, report.message)));
  return Disposition::kCommitted;
}

absl::StatusOr<Disposition> JobLoop::ReportRecord(Job& job, const Attempt& attempt, const AttemptReport& report) {
  const Candidate& candidate = *job.log.state().Find(report.id.candidate);
  absl::StatusOr<EventBody> finished = ReadRecord(job, candidate, attempt, report.record_sha256);
  absl::Status status = finished.status();
  if (status.ok()) {
    std::vector<EventBody> events;
    events.emplace_back(*std::move(finished));
    AddStarts(job, &events);
    status = Commit(job, std::move(events), {report.record_key});
    if (status.ok()) return Disposition::kCommitted;
  }
  const bool bad_record = absl::IsNotFound(status) || absl::IsDataLoss(status) || absl::IsFailedPrecondition(status);
  if (!bad_record) return status;
  MG_LOG(WARNING) << "report rejected worker=" << report.worker_id << " reason=\"" << status.message() << "\"";
  // The worker is done with it, so the candidate must not wait for the lease to run out.
  if (!attempt.ended) {
    MG_RETURN_IF_ERROR(Commit(job, EndAttempt(job.log.state(), report.id.candidate, report.id.attempt,
                                              FailureClass::kTransient, std::string(status.message()))));
  }
  return Disposition::kRejected;
}

// --- leases and dispatch ----------------------------------------------------------------------

absl::Status JobLoop::RecoverAttempts(Job& job) {
  const JobState& state = job.log.state();
  std::set<int64_t> unfinished = state.queued();
  unfinished.insert(state.running().begin(), state.running().end());
  const absl::Duration now = clock_.Monotonic();
  for (int64_t number : unfinished) {
    MG_RETURN_IF_ERROR(leadership_.Renew());
    const absl::Status adopted = AdoptRecord(job, number);
    if (!absl::IsNotFound(adopted)) {
      MG_RETURN_IF_ERROR(adopted);
      continue;
    }
    for (const Attempt& attempt : state.Find(number)->attempts) {
      if (attempt.ended) continue;
      leases_.Grant(
          {.id = {state.id(), number, attempt.number},
           .token = attempt.token,
           .worker = attempt.worker,
           .deadline = now + options_.reattach_window,
           .last_listed = now,
           .on_expiry = FailureClass::kReleased,
           .message = absl::StrCat("worker ", attempt.worker, " did not come back after the coordinator's restart")});
    }
  }
  for (const Candidate& candidate : state.candidates()) {
    if (candidate.kind != CandidateKind::kSearch || candidate.state != CandidateState::kSucceeded) continue;
    if (!candidate.attempts.empty() && !candidate.stop.has_value())
      job.times.Add(candidate.end_time - candidate.attempts.back().start_time);
  }
  return absl::OkStatus();
}

void JobLoop::ExpireLeases() {
  const absl::Duration now = clock_.Monotonic();
  for (const Lease& lease : leases_.Expired(now)) {
    if (!leadership_.acting()) return;
    Job& job = *job_by_id_.at(lease.id.job_id);
    if (job.log.stalled() || leases_.Find(lease.id) == nullptr) continue;
    const Candidate& candidate = *job.log.state().Find(lease.id.candidate);
    const Attempt* attempt = FindAttempt(candidate, lease.id.attempt);
    if (attempt == nullptr || attempt->ended) {
      leases_.Remove(lease.id);
      continue;
    }
    // It may have finished and died before it could say so.
    const absl::Status adopted = AdoptRecord(job, lease.id.candidate);
    if (adopted.ok()) continue;
    if (!absl::IsNotFound(adopted)) {
      leases_.Postpone(lease.id, now + kRecordRetry);
      continue;
    }
    const std::string message = lease.message.empty() ? absl::StrCat("worker ", lease.worker, " was silent for ",
                                                                     absl::FormatDuration(options_.lease))
                                                      : lease.message;
    const std::string line = absl::StrCat("lease ended job=", lease.id.job_id, " candidate=", lease.id.candidate,
                                          " attempt=", lease.id.attempt, " reason=\"", message, "\"");
    if (lease.on_expiry == FailureClass::kReleased) {
      MG_LOG(INFO) << line;  // what any restart leaves behind
    } else {
      MG_LOG(WARNING) << line;
    }
    (void)Commit(job, EndAttempt(job.log.state(), lease.id.candidate, lease.id.attempt, lease.on_expiry, message));
  }
}

void JobLoop::EndLease(const Job& job, const AttemptEnded& ended) {
  const AttemptId id{job.log.state().id(), ended.candidate, ended.attempt};
  const Lease* lease = leases_.Find(id);
  if (lease == nullptr) return;
  Fleet::Worker* worker = fleet_.Find(lease->worker);
  const Candidate& candidate = *job.log.state().Find(ended.candidate);
  if (observer_ != nullptr && FindAttempt(candidate, ended.attempt)->speculative) observer_->OnSpeculation("failed");
  if (worker != nullptr && ended.failure != FailureClass::kReleased) ++worker->failed;
  switch (ended.failure) {
    case FailureClass::kReleased:
    case FailureClass::kWorkerLost:
      break;
    case FailureClass::kUnavailable:
    case FailureClass::kTransient:
    case FailureClass::kInfeasible:
    case FailureClass::kCrashed:
    case FailureClass::kTimedOut:
    case FailureClass::kOutOfMemory:
      std::string why = health_.Failed(lease->worker, id.job_id, id.candidate);
      if (why.empty() && worker != nullptr && worker->strikes > 0) why = "it failed again after its quarantine";
      if (!why.empty()) verdicts_.emplace_back(lease->worker, why);
      break;
  }
  leases_.Remove(id);
}

void JobLoop::FinishLeases(Job& job, int64_t number, int reported, bool succeeded, absl::Time time) {
  const Candidate& candidate = *job.log.state().Find(number);
  for (const Attempt& attempt : candidate.attempts) {
    const AttemptId id{job.log.state().id(), number, attempt.number};
    const bool won = attempt.number == reported && succeeded;
    if (won && candidate.kind != CandidateKind::kPrepare) {  // which evaluates nothing
      if (candidate.kind == CandidateKind::kSearch) job.times.Add(time - attempt.start_time);
      for (WorkerHealth::Verdict& verdict : health_.Succeeded(attempt.worker, id.job_id, id.candidate)) {
        verdicts_.push_back(std::move(verdict));
      }
      if (Fleet::Worker* worker = fleet_.Find(attempt.worker); worker != nullptr) {
        quarantines_changed_ |= std::exchange(worker->strikes, 0) > 0;
      }
    }
    const Lease* lease = leases_.Find(id);
    if (lease == nullptr) continue;
    if (observer_ != nullptr && attempt.speculative) observer_->OnSpeculation(won ? "won" : "lost");
    Fleet::Worker* worker = fleet_.Find(lease->worker);
    if (worker != nullptr && attempt.number == reported) {
      ++(succeeded ? worker->finished : worker->failed);
    } else if (worker != nullptr && worker->link != nullptr) {
      worker->link->Cancel(id);
    }
    leases_.Remove(id);
  }
}

}  // namespace merganser
