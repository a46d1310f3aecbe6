// The part of JobLoop that sets jobs aside: what cannot be replayed must not keep the others from running.
#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "coordinator/job/job_loop.h"
#include "coordinator/job/log_damage.h"

namespace merganser {

JobLoop::Job* JobLoop::AddUnreadable(const StoredJob& stored, const absl::Status& why) {
  JobSpec spec;
  spec.name = stored.name;
  Job* job = AddJob(stored.id, spec);
  job->create_time = stored.create_time;
  job->log.SetDamaged(absl::StrCat(stored.id, " spec: ", why.message()));
  return job;
}

JobSummary JobLoop::DamagedSummary(const Job& job) const {
  JobSummary summary = job.driver->Summary();
  summary.phase = JobPhase::kDamaged;
  summary.message = DamagedJobMessage(summary.id, job.log.damage(), store_.uri());
  if (summary.seq == 0) summary.create_time = job.create_time;
  return summary;
}

absl::Status JobLoop::SetAsideError(const Job& job) const {
  const std::string& id = job.log.state().id();
  return absl::FailedPreconditionError(absl::StrCat(id, ": ", DamagedJobMessage(id, job.log.damage(), store_.uri())));
}

absl::StatusOr<JobLoop::Job*> JobLoop::FindWhole(const std::string& id_or_name) {
  MG_ASSIGN_OR_RETURN(Job * job, FindJob(id_or_name));
  if (job->log.damaged()) return SetAsideError(*job);
  return job;
}

absl::Status JobLoop::CheckName(const std::string& name) const {
  const auto newest =
      std::find_if(jobs_.rbegin(), jobs_.rend(), [&](const auto& job) { return job->log.state().spec().name == name; });
  if (newest == jobs_.rend() || !(*newest)->log.damaged()) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat("name: '", name, "' is taken by ", SetAsideError(**newest).message(),
                                                    "; to begin anew, submit under another name"));
}

void JobLoop::SetDamagedAside() {
  for (const auto& job : jobs_) {
    if (!job->log.damaged() || std::exchange(job->set_aside, true)) continue;
    const JobState& state = job->log.state();
    MG_LOG(ERROR) << "job set aside job=" << state.id() << " name=" << state.spec().name << " seq=" << state.seq()
                  << " reason=\"" << job->log.damage() << "\"";
    std::vector<Lease> held;
    for (const auto& [id, lease] : leases_.all()) {
      if (id.job_id == state.id()) held.push_back(lease);
    }
    for (const Lease& lease : held) {
      const Fleet::Worker* worker = fleet_.Find(lease.worker);
      if (worker != nullptr && worker->link != nullptr) worker->link->Cancel(lease.id);
      leases_.Remove(lease.id);
    }
    dispatch_due_ = true;
  }
}

absl::StatusOr<JobLoop::Job*> JobLoop::ReadAgain(const Job& job) {
  const std::string id = job.log.state().id();
  MG_ASSIGN_OR_RETURN(const std::vector<StoredJob> all, store_.ListJobs());
  const auto stored = std::find_if(all.begin(), all.end(), [&](const StoredJob& entry) { return entry.id == id; });
  if (stored == all.end()) return absl::FailedPreconditionError(absl::StrCat(id, " is not in ", store_.uri(), " any more"));
  absl::StatusOr<JobSpec> spec = codec_.DecodeSpec(stored->spec);
  if (!spec.ok()) return SetAsideError(job);
  auto fresh = std::make_unique<Job>(this, id, *std::move(spec));
  fresh->create_time = stored->create_time;
  const absl::Status replayed = fresh->log.Replay([this] { return leadership_.Renew(); });
  if (!replayed.ok() && !fresh->log.damaged()) return replayed;
  // Also where another damage was found: that is what is wrong now.
  Job* const now = fresh.get();
  *std::find_if(jobs_.begin(), jobs_.end(), [&](const auto& one) { return one.get() == &job; }) = std::move(fresh);
  job_by_id_[id] = now;
  absl::Status recovered;
  if (!now->log.damaged()) {
    RestoreSnapshot(*now);
    recovered = RecoverAttempts(*now);
    // Some of its attempts may be without a lease, which nothing would ever end.
    if (!recovered.ok())
      now->log.SetDamaged(absl::StrCat(id, ": its attempts could not be recovered: ", recovered.message()));
  }
  SetDamagedAside();
  if (!recovered.ok() && !absl::IsInternal(recovered)) return recovered;
  if (now->log.damaged()) return SetAsideError(*now);
  MG_LOG(INFO) << "job log goes on, read again job=" << id << " seq=" << now->log.state().seq();
  dispatch_due_ = true;
  return now;
}

}  // namespace merganser
