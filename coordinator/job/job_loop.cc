#include "coordinator/job/job_loop.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "coordinator/job/attempt_outcome.h"

namespace merganser {

JobLoop::Job::Job(JobLoop* loop, const std::string& id, JobSpec spec)
    : log({&loop->store_, &loop->codec_, &loop->clock_, loop->observer_}, id, std::move(spec),
          [loop, this](const JobEvent& event) { loop->OnApplied(*this, event); }),
      driver(&log.state()) {}

JobLoop::JobLoop(ResultsStore* store, const JobCodec* codec, Clock* clock, JobObserver* observer,
                 const JobManagerOptions& options)
    : store_(*store), codec_(*codec), clock_(*clock), observer_(observer), options_(options), leadership_(store, clock) {}

absl::Status JobLoop::Ready() const {
  if (!leadership_.held()) return absl::UnavailableError("this coordinator does not lead");
  if (!leadership_.acting()) {
    return absl::UnavailableError(leadership_.failure().ok() ? "the results store is away; retry"
                                                             : absl::StrCat("the results store is away (",
                                                                            leadership_.failure().message(), "); retry"));
  }
  return absl::OkStatus();
}

absl::Status JobLoop::Start() {
  if (leadership_.held()) return absl::OkStatus();
  Leave();
  MG_RETURN_IF_ERROR(leadership_.Acquire(options_.holder, options_.leader_lease));
  if (absl::Status replayed = ReplayAll(); !replayed.ok()) {
    leadership_.Release();
    Leave();
    return replayed;
  }
  // No worker could come back before: of several long logs the first ones' windows would be over.
  const absl::Duration now = clock_.Monotonic();
  leases_.RestartAll(now, now + options_.reattach_window);
  MG_LOG(INFO) << "leading epoch=" << epoch() << " jobs=" << jobs_.size() << " running_attempts=" << leases_.size()
               << " store=" << store_.uri();
  return absl::OkStatus();
}

absl::Status JobLoop::ReplayAll() {
  MG_ASSIGN_OR_RETURN(const std::vector<StoredJob> stored, store_.ListJobs());
  for (const StoredJob& entry : stored) {
    const absl::StatusOr<JobSpec> spec = codec_.DecodeSpec(entry.spec);
    if (!spec.ok()) {
      AddUnreadable(entry, spec.status());
      continue;
    }
    Job* job = AddJob(entry.id, *spec);
    job->create_time = entry.create_time;
    MG_RETURN_IF_ERROR(Load(*job));
  }
  SetDamagedAside();
  MG_ASSIGN_OR_RETURN(quarantines_, store_.GetFleet());
  quarantines_changed_ = false;
  if (const absl::Status restored = fleet_.RestoreQuarantines(quarantines_, clock_.Now(), clock_.Monotonic());
      !restored.ok()) {
    MG_LOG(ERROR) << "starting without quarantines reason=\"" << restored.message() << "\"";
  }
  return absl::OkStatus();
}

absl::Status JobLoop::Load(Job& job) {
  // A long replay must not outlive the lease: what it adopts at its end is written under it.
  absl::Status status = job.log.Replay([this] { return leadership_.Renew(); });
  if (status.ok()) {
    RestoreSnapshot(job);
    status = RecoverAttempts(job);
  }
  return job.log.damaged() ? absl::OkStatus() : status;
}

void JobLoop::Stop() {
  leadership_.Release();
  Leave();
}

void JobLoop::Leave() {
  for (auto& [id, worker] : fleet_.workers()) {
    if (worker.link != nullptr) worker.link->GoAway(kGoAwayRetry);
  }
  fleet_.Clear();
  leases_.Clear();
  health_.Clear();
  verdicts_.clear();
  job_by_id_.clear();
  jobs_.clear();
  resync_ = false;
}

JobLoop::Job* JobLoop::AddJob(const std::string& id, const JobSpec& spec) {
  jobs_.push_back(std::make_unique<Job>(this, id, spec));
  job_by_id_[id] = jobs_.back().get();
  return jobs_.back().get();
}

absl::StatusOr<JobLoop::Job*> JobLoop::FindJob(const std::string& id_or_name) {
  MG_RETURN_IF_ERROR(Ready());
  const auto it = job_by_id_.find(id_or_name);
  if (it != job_by_id_.end()) return it->second;
  for (auto job = jobs_.rbegin(); job != jobs_.rend(); ++job) {
    if ((*job)->log.state().spec().name == id_or_name) return job->get();
  }
  return absl::NotFoundError(absl::StrCat("no job '", id_or_name, "'"));
}

const JobState* JobLoop::StateOf(const std::string& job_id) {
  const auto it = job_by_id_.find(job_id);
  return it == job_by_id_.end() ? nullptr : &it->second->log.state();
}

bool JobLoop::HasLease(const std::string& job_id, int64_t candidate) const {
  const auto it = job_by_id_.find(job_id);
  if (it == job_by_id_.end()) return false;
  const Candidate* found = it->second->log.state().Find(candidate);
  return found != nullptr && std::any_of(found->attempts.begin(), found->attempts.end(), [&](const Attempt& attempt) {
           return leases_.Find({job_id, candidate, attempt.number}) != nullptr;
         });
}

absl::Status JobLoop::Commit(Job& job, std::vector<EventBody> events, std::vector<std::string> required_records) {
  if (!leadership_.acting()) return absl::UnavailableError("the results store is away; retry");
  const absl::Status status = job.log.Commit(epoch(), std::move(events), std::move(required_records));
  if (!absl::IsAborted(status)) return status;
  MG_LOG(ERROR) << "another coordinator leads, stopping epoch=" << epoch() << " reason=\"" << status.message() << "\"";
  return LoseLead();
}

absl::Status JobLoop::LoseLead() {
  leadership_.Lose();
  return absl::UnavailableError("another coordinator leads");
}

void JobLoop::OnApplied(Job& job, const JobEvent& event) {
  job.dirty = true;
  dispatch_due_ = true;
  const std::string& id = job.log.state().id();
  if (const auto* started = std::get_if<AttemptStarted>(&event.body)) {
    Assign(job, *started);
  } else if (const auto* ended = std::get_if<AttemptEnded>(&event.body)) {
    EndLease(job, *ended);
  } else if (const auto* finished = std::get_if<CandidateFinished>(&event.body)) {
    // One that a race stops had its attempts before.
    FinishLeases(job, finished->candidate, finished->stop.has_value() ? 0 : finished->attempt,
                 finished->state == CandidateState::kSucceeded, event.time);
  } else if (const auto* scored = std::get_if<BlockScored>(&event.body)) {
    FinishLeases(job, scored->candidate, scored->attempt, /*succeeded=*/true, event.time);
  } else if (const auto* phase = std::get_if<PhaseStarted>(&event.body)) {
    MG_LOG(INFO) << "phase job=" << id << " phase=" << ToString(phase->phase)
                 << (phase->message.empty() ? "" : " message=\"" + phase->message + "\"");
  } else if (const auto* action = std::get_if<ActionTaken>(&event.body)) {
    MG_LOG(INFO) << "action job=" << id << " kind=" << ToString(action->kind) << " by=\"" << action->by << "\" message=\""
                 << action->message << "\"";
    // What it held was dropped with the job's end.
    if (action->reopens) job.driver.emplace(&job.log.state());
  }
}

absl::StatusOr<JobSummary> JobLoop::CreateJob(const std::string& request_id, const JobSpec& spec, const std::string& by) {
  MG_RETURN_IF_ERROR(Ready());
  MG_RETURN_IF_ERROR(Validate(spec));
  MG_RETURN_IF_ERROR(JobDriver::Check(spec));
  MG_RETURN_IF_ERROR(CheckName(spec.name));
  const absl::Duration start = clock_.Monotonic();
  absl::StatusOr<std::string> id = store_.CreateJob(epoch(), request_id, spec.name, codec_.EncodeSpec(spec));
  if (observer_ != nullptr) {
    observer_->OnStoreCommit("create_job", clock_.Monotonic() - start, id.status());
  }
  if (absl::IsAborted(id.status())) return LoseLead();
  if (!id.ok()) {
    resync_ = true;  // it may have been made nevertheless
    return id.status();
  }
  const auto it = job_by_id_.find(*id);
  if (it != job_by_id_.end()) {
    if (it->second->log.damaged()) return SetAsideError(*it->second);
    return SummaryOf(*it->second);
  }
  Job* job = AddJob(*id, spec);
  MG_LOG(INFO) << "job created job=" << *id << " name=" << spec.name;
  // Its first events; if the store goes away just now, Tick repeats them.
  std::vector<EventBody> events = job->driver->Next(clock_.Now());
  if (!by.empty()) events.emplace_back(ActionTaken{.kind = ActionKind::kSubmitted, .by = by});
  (void)Commit(*job, std::move(events));
  return SummaryOf(*job);
}

absl::StatusOr<JobSummary> JobLoop::GetJob(const std::string& job) {
  MG_ASSIGN_OR_RETURN(Job * found, FindJob(job));
  return SummaryOf(*found);
}

absl::StatusOr<std::vector<JobSummary>> JobLoop::ListJobs() {
  MG_RETURN_IF_ERROR(Ready());
  std::vector<JobSummary> summaries;
  for (const auto& job : jobs_) summaries.push_back(SummaryOf(*job));
  return summaries;
}

absl::StatusOr<Candidate> JobLoop::GetCandidate(const std::string& job, int64_t number) {
  MG_ASSIGN_OR_RETURN(Job * found, FindJob(job));
  const Candidate* candidate = found->log.state().Find(number);
  if (candidate == nullptr) {
    return absl::NotFoundError(absl::StrCat("no candidate ", number, " in ", found->log.state().id(), ", which has ",
                                            found->log.state().candidates().size()));
  }
  return found->log.state().Whole(number);
}

absl::StatusOr<std::vector<Candidate>> JobLoop::ListCandidates(const std::string& job) {
  MG_ASSIGN_OR_RETURN(Job * found, FindJob(job));
  const JobState& state = found->log.state();
  std::vector<Candidate> candidates;
  candidates.reserve(state.candidates().size());
  for (const Candidate& candidate : state.candidates()) candidates.push_back(state.Whole(candidate.number));
  return candidates;
}

absl::Status JobLoop::LookAtCandidates(const std::string& job, const JobManager::CandidatesLook& look) {
  MG_ASSIGN_OR_RETURN(Job * found, FindJob(job));
  const JobState& state = found->log.state();
  return look(state.candidates(), [&state](int64_t number) { return state.Whole(number); });
}

absl::StatusOr<JobManager::EventBatch> JobLoop::EventsAfter(const std::string& job, int64_t after_seq) {
  MG_ASSIGN_OR_RETURN(Job * found, FindJob(job));
  // Whoever asks for a long log from its start asks again; one copy of all of it would hold up the loop for seconds.
  constexpr int64_t kBatchMax = 250;
  JobManager::EventBatch batch;
  absl::StatusOr<std::vector<std::pair<int64_t, JobEvent>>> events = found->log.EventsAfter(after_seq, kBatchMax);
  // Of a damaged log what comes before the damage is all there is.
  if (!events.ok() && !found->log.damaged()) return events.status();
  if (events.ok()) batch.events = *std::move(events);
  // Why it waits is worked out only where nothing runs: this is asked with every batch of every watch.
  const bool at_rest = found->log.damaged() || found->log.state().running().empty();
  batch.job = at_rest ? SummaryOf(*found) : found->driver->Summary();
  return batch;
}

bool JobLoop::HasEventsAfter(const std::string& job, int64_t after_seq) {
  absl::StatusOr<Job*> found = FindJob(job);
  if (!found.ok()) return true;
  const JobState& state = (*found)->log.state();
  return state.over() || (*found)->log.damaged() || state.seq() > std::max<int64_t>(0, after_seq);
}

void JobLoop::ResyncJobs() {
  const absl::Duration now = clock_.Monotonic();
  if (!resync_ || now < resync_at_) return;
  resync_at_ = now + JobLog::kRetryMax;
  absl::StatusOr<std::vector<StoredJob>> stored = store_.ListJobs();
  if (!stored.ok()) return;
  for (const StoredJob& entry : *stored) {
    if (job_by_id_.count(entry.id) != 0) continue;
    const absl::StatusOr<JobSpec> spec = codec_.DecodeSpec(entry.spec);
    // Nobody but this leader writes to it, so its log is empty.
    if (spec.ok()) {
      AddJob(entry.id, *spec);
    } else {
      AddUnreadable(entry, spec.status());
    }
  }
  resync_ = false;
  resync_at_ = absl::ZeroDuration();
}

void JobLoop::MendLogs() {
  const absl::Duration now = clock_.Monotonic();
  if (now < mend_at_) return;
  mend_at_ = now + kMendInterval;
  MendQuarantines();
  for (const auto& job : jobs_) {
    if (!leadership_.held()) return;
    // A stalled log is mended by its next append.
    if (job->log.stalled() || job->log.state().seq() == 0 || now - job->log.last_append() > kMendAge) continue;
    if (absl::IsAborted(job->log.Mend(epoch()))) {
      MG_LOG(ERROR) << "another coordinator leads, stopping epoch=" << epoch();
      leadership_.Lose();
    }
  }
}

void JobLoop::RetryStalled() {
  for (const auto& job : jobs_) {
    if (!job->log.stalled() || !leadership_.held()) continue;
    const absl::Status status = job->log.Retry(epoch());
    if (absl::IsAborted(status)) leadership_.Lose();
    if (job->log.stalled()) continue;
    MG_LOG(INFO) << "job log goes on job=" << job->log.state().id();
    job->dirty = true;
    dispatch_due_ = true;
  }
}

void JobLoop::SaveSnapshot(Job& job) {
  const JobState& state = job.log.state();
  if (state.phase() != JobPhase::kSearch || state.search_proposed() - job.saved < options_.snapshot_every) return;
  job.saved = state.search_proposed();
  const std::string body = job.driver->SaveState();
  if (body.empty()) return;
  const absl::Duration start = clock_.Monotonic();
  const absl::Status status = store_.PutSnapshot(epoch(), state.id(), {state.seq(), body});
  if (observer_ != nullptr) observer_->OnStoreCommit("snapshot", clock_.Monotonic() - start, status);
  if (absl::IsAborted(status)) leadership_.Lose();
  if (!status.ok()) {
    MG_LOG(WARNING) << "no snapshot job=" << state.id() << " reason=\"" << status.message() << "\"";
  }
}

void JobLoop::RestoreSnapshot(Job& job) {
  const JobState& state = job.log.state();
  if (state.over() || state.stages().empty()) return;
  const absl::StatusOr<std::optional<StoredSnapshot>> snapshot = store_.GetSnapshot(state.id());
  if (!snapshot.ok() || !snapshot->has_value()) return;
  absl::Status fits;
  if ((*snapshot)->seq > state.seq()) {
    fits = absl::DataLossError("it is newer than the log");
  } else if ((*snapshot)->seq < state.resumed_seq()) {
    fits = absl::DataLossError("it is older than the job's resumption");
  } else {
    fits = job.driver->RestoreState((*snapshot)->body);
  }
  if (fits.ok()) {
    job.saved = state.search_proposed();
    return;
  }
  MG_LOG(WARNING) << "snapshot not used job=" << state.id() << " seq=" << (*snapshot)->seq << " reason=\"" << fits.message()
                  << "\"";
  job.driver.emplace(&state);
}

void JobLoop::AdvanceJobs() {
  for (const auto& job : jobs_) {
    while (job->dirty && !job->log.stalled() && leadership_.acting()) {
      const absl::Duration start = clock_.Monotonic();
      const bool searches = job->log.state().phase() == JobPhase::kSearch;
      std::vector<EventBody> events = job->driver->Next(clock_.Now(), searches ? SlotsFor(*job) : 0);
      job->dirty = false;
      if (observer_ != nullptr && searches && std::any_of(events.begin(), events.end(), [](const EventBody& e) {
            return std::holds_alternative<CandidatesProposed>(e);
          })) {
        observer_->OnOptimizerStep(clock_.Monotonic() - start);
      }
      if (events.empty()) break;
      AddStarts(*job, &events);
      // Applying them makes the job dirty again. A failed commit is repeated by RetryStalled.
      if (Commit(*job, std::move(events)).ok()) {
        SaveSnapshot(*job);
        continue;
      }
      // Nothing was kept: proposals that the optimizer made must not be skipped.
      if (!job->log.stalled()) job->driver.emplace(&job->log.state());
      job->dirty = true;
      break;
    }
  }
}

void JobLoop::Tick() {
  if (!leadership_.held()) {
    if (!fleet_.workers().empty() || !jobs_.empty()) Leave();
    return;
  }
  const absl::Duration start = clock_.Monotonic();
  const std::optional<absl::Status> renewed = leadership_.RenewIfDue();
  // Where no result comes in, nothing else tells whether the store is there.
  if (renewed.has_value() && observer_ != nullptr) observer_->OnStoreCommit("renew", clock_.Monotonic() - start, *renewed);
  if (renewed.has_value() && absl::IsAborted(*renewed)) {
    MG_LOG(ERROR) << "another coordinator leads, stopping epoch=" << epoch();
    Leave();
    return;
  }
  if (!leadership_.acting()) return;
  ResyncJobs();
  RetryStalled();
  MendLogs();
  SetDamagedAside();
  ExpireLeases();
  EndQuarantines();
  StopOverdue();
  AdvanceJobs();
  Dispatch();
  Speculate();
  const absl::Duration now = clock_.Monotonic();
  if (quarantines_changed_ && now >= quarantines_retry_at_) (void)SaveQuarantines();
  if (now >= forget_at_) {
    fleet_.ForgetLost(now);
    forget_at_ = now + Fleet::kKeepLost / 10;
  }
  if (!leadership_.held()) Leave();
}

}  // namespace merganser
