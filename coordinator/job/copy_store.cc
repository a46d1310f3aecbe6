#include "coordinator/job/copy_store.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/sha256.h"
#include "common/base/status_macros.h"
#include "coordinator/job/job_state.h"

namespace merganser {
namespace {

constexpr int64_t kPage = 500;  // events per read and append
constexpr absl::Duration kLease = absl::Minutes(1);

class Copy {
 public:
  Copy(ResultsStore* from, ResultsStore* to, const JobCodec& codec, const CopyStoreOptions& options)
      : from_(*from), to_(*to), codec_(codec), options_(options) {}

  absl::StatusOr<CopyStoreReport> Run() {
    MG_ASSIGN_OR_RETURN(std::vector<StoredJob> jobs, from_.ListJobs());
    if (options_.backup != nullptr) {
      MG_ASSIGN_OR_RETURN(backup_jobs_, options_.backup->ListJobs());
      MendSpecs(&jobs);
    }
    MG_ASSIGN_OR_RETURN(epoch_, to_.Lead("merganser store", kLease));
    absl::Status status = CopyJobs(jobs);
    (void)to_.ReleaseLead(epoch_);
    MG_RETURN_IF_ERROR(status);
    return std::move(report_);
  }

 private:
  // Specs that cannot be read are taken from the backup where it has that job.
  void MendSpecs(std::vector<StoredJob>* jobs) {
    for (StoredJob& job : *jobs) {
      const absl::Status damage = codec_.DecodeSpec(job.spec).status();
      if (damage.ok()) continue;
      for (const StoredJob& kept : backup_jobs_) {
        if (kept.id != job.id || kept.name != job.name || !codec_.DecodeSpec(kept.spec).ok()) continue;
        job.spec = kept.spec;
        report_.mended.push_back(absl::StrCat(job.id, " spec: ", damage.message()));
      }
    }
  }

  absl::Status CopyJobs(const std::vector<StoredJob>& jobs) {
    MG_ASSIGN_OR_RETURN(const std::vector<StoredJob> there, to_.ListJobs());
    for (size_t i = 0; i < there.size(); ++i) {
      if (i < jobs.size() && there[i].id == jobs[i].id && there[i].spec == jobs[i].spec) continue;
      return absl::FailedPreconditionError(
          absl::StrCat(to_.uri(), " holds ", there[i].id, " '", there[i].name, "' of its own; copy into an empty store"));
    }
    for (size_t i = 0; i < jobs.size(); ++i) {
      if (i >= there.size()) {
        MG_ASSIGN_OR_RETURN(const std::string id, to_.CreateJob(epoch_, "", jobs[i].name, jobs[i].spec));
        if (id != jobs[i].id) {
          return absl::FailedPreconditionError(
              absl::StrCat(to_.uri(), " numbers its next job ", id, ", not ", jobs[i].id, "; copy into a new store"));
        }
      }
      MG_RETURN_IF_ERROR(CopyLog(jobs[i]));
      ++report_.jobs;
    }
    MG_ASSIGN_OR_RETURN(const std::string fleet, from_.GetFleet());
    return fleet.empty() ? absl::OkStatus() : to_.PutFleet(epoch_, fleet);
  }

  // Damage ends the copy of this log, and of everything unless it is salvaged.
  absl::Status Damaged(const std::string& what) {
    if (!options_.salvage) {
      return absl::DataLossError(absl::StrCat(from_.uri(), ": ", what, "; --salvage copies what comes before"));
    }
    report_.damage.push_back(what);
    return absl::OkStatus();
  }

  absl::Status CopyLog(const StoredJob& job) {
    absl::StatusOr<JobSpec> spec = codec_.DecodeSpec(job.spec);
    if (!spec.ok()) return Damaged(absl::StrCat(job.id, " spec: ", spec.status().message()));
    JobState state(job.id, *std::move(spec));
    MG_ASSIGN_OR_RETURN(const std::string without_backup, WhyWithoutBackup(job));
    while (true) {
      const int64_t begin = state.seq();
      absl::StatusOr<std::vector<StoredEvent>> page = from_.ReadEvents(job.id, begin, kPage);
      // One by one up to the one that cannot be read.
      if (absl::IsDataLoss(page.status()) && options_.salvage) {
        absl::StatusOr<std::vector<StoredEvent>> next = from_.ReadEvents(job.id, begin, 1);
        if (next.ok() && !next->empty()) page = std::move(next);
      }
      absl::Status damage = page.status();
      if (!damage.ok() && !absl::IsDataLoss(damage)) return damage;
      if (damage.ok() && page->empty()) break;
      std::vector<std::string> bodies;
      if (damage.ok()) {
        std::vector<StoredEvent> kept;
        if (without_backup.empty()) {
          kept = options_.backup->ReadEvents(job.id, begin, static_cast<int64_t>(page->size()))
                     .value_or(std::vector<StoredEvent>());
        }
        for (size_t i = 0; i < page->size() && damage.ok(); ++i) {
          const StoredEvent& stored = (*page)[i];
          // An acknowledged event stays what it is: one that is another than it was is damaged, though it still reads. Where
          // the next one differs as well the logs part here, after a failover, and the store's goes on.
          const bool changed = i + 1 < std::min(kept.size(), page->size()) && kept[i].seq == stored.seq &&
                               kept[i].body != stored.body && kept[i + 1] == (*page)[i + 1];
          if (changed) {
            absl::Status misfit;
            MG_RETURN_IF_ERROR(TakeEvent(kept[i], &state, &misfit));
            if (misfit.ok()) {
              bodies.push_back(kept[i].body);
              report_.mended.push_back(absl::StrCat(job.id, " event ", stored.seq, ": it differs from the backup's"));
              continue;
            }
          }
          MG_RETURN_IF_ERROR(TakeEvent(stored, &state, &damage));
          if (damage.ok()) bodies.push_back(stored.body);
        }
      }
      MG_RETURN_IF_ERROR(AppendRest(job.id, begin, bodies));
      MG_RETURN_IF_ERROR(to_.RenewLead(epoch_, kLease));
      report_.events += static_cast<int64_t>(bodies.size());
      if (options_.on_progress) options_.on_progress(job.id, state.seq());
      if (damage.ok()) continue;
      const std::string what = absl::StrCat(job.id, " event ", state.seq() + 1, ": ", damage.message());
      MG_ASSIGN_OR_RETURN(const bool mended, Mend(job, what, without_backup, &state));
      if (!mended) break;
    }
    // Records of attempts that nobody reported yet, or whose report is behind the damage: whoever leads the copy adopts
    // them.
    for (const auto* numbers : {&state.queued(), &state.running()}) {
      for (const int64_t number : *numbers) MG_RETURN_IF_ERROR(CopyRecords(job.id, *state.Find(number)));
    }
    return absl::OkStatus();
  }

  // Applies the event, and copies the records that it may say are there. Into `damage` why it cannot be read or does not fit.
  absl::Status TakeEvent(const StoredEvent& stored, JobState* state, absl::Status* damage) {
    const absl::StatusOr<JobEvent> event = codec_.DecodeEvent(stored.body);
    *damage = event.ok() ? state->Apply(stored.seq, *event) : event.status();
    if (!damage->ok()) return absl::OkStatus();
    const auto* const finished = std::get_if<CandidateFinished>(&event->body);
    return finished == nullptr ? absl::OkStatus() : CopyRecords(state->id(), *state->Find(finished->candidate));
  }

  // Why nothing of the job's log can be taken from the backup; "": it has that log, or the beginning of it.
  absl::StatusOr<std::string> WhyWithoutBackup(const StoredJob& job) {
    if (options_.backup == nullptr) return "there is none";
    if (std::none_of(backup_jobs_.begin(), backup_jobs_.end(),
                     [&](const StoredJob& kept) { return kept.id == job.id && kept.spec == job.spec; })) {
      return "the backup has no such job";
    }
    const absl::StatusOr<std::vector<StoredEvent>> here = from_.ReadEvents(job.id, 0, kPage);
    const absl::StatusOr<std::vector<StoredEvent>> kept = options_.backup->ReadEvents(job.id, 0, kPage);
    if (absl::IsDataLoss(kept.status())) {
      return absl::StrCat("nor can the backup's be read: ", kept.status().message());
    }
    MG_RETURN_IF_ERROR(kept.status());
    if (!here.ok()) return "";
    // Each event of another log has another time, and other tokens.
    const size_t both = std::min(here->size(), kept->size());
    size_t equal = 0;
    for (size_t i = 0; i < both; ++i) equal += (*here)[i] == (*kept)[i];
    return 2 * equal < both ? "the backup has another log of that job" : "";
  }

  // Takes the event after the state's from the backup. False if it cannot be had: then it is damage.
  absl::StatusOr<bool> Mend(const StoredJob& job, const std::string& damage, const std::string& without_backup,
                            JobState* state) {
    const auto left_out = [&](absl::string_view why) -> absl::StatusOr<bool> {
      MG_RETURN_IF_ERROR(Damaged(why.empty() ? damage : absl::StrCat(damage, "; ", why)));
      return false;
    };
    if (options_.backup == nullptr) return left_out("");
    if (!without_backup.empty()) return left_out(without_backup);
    const absl::StatusOr<std::vector<StoredEvent>> next = options_.backup->ReadEvents(job.id, state->seq(), 1);
    if (absl::IsDataLoss(next.status())) {
      return left_out(absl::StrCat("nor can the backup's be read: ", next.status().message()));
    }
    MG_RETURN_IF_ERROR(next.status());
    if (next->empty()) return left_out("the backup ends before it");
    absl::Status misfit;
    MG_RETURN_IF_ERROR(TakeEvent(next->front(), state, &misfit));
    if (!misfit.ok()) return left_out(absl::StrCat("nor does the backup's fit: ", misfit.message()));
    MG_RETURN_IF_ERROR(AppendRest(job.id, state->seq() - 1, {next->front().body}));
    ++report_.events;
    report_.mended.push_back(damage);
    return true;
  }

  // Of the events that follow number `begin` an earlier copy may have stored the first ones.
  absl::Status AppendRest(const std::string& job_id, int64_t begin, std::vector<std::string> bodies) {
    MG_ASSIGN_OR_RETURN(const std::vector<StoredEvent> there, to_.ReadEvents(job_id, begin, kPage));
    const size_t known = std::min(there.size(), bodies.size());
    for (size_t i = 0; i < known; ++i) {
      if (there[i].body != bodies[i]) {
        return absl::FailedPreconditionError(
            absl::StrCat(to_.uri(), " holds another event ", there[i].seq, " of ", job_id, "; copy into an empty store"));
      }
    }
    bodies.erase(bodies.begin(), bodies.begin() + static_cast<int64_t>(known));
    return to_.Append(epoch_, job_id, begin + static_cast<int64_t>(known), bodies);
  }

  absl::Status CopyRecords(const std::string& job_id, const Candidate& candidate) {
    for (const Attempt& attempt : candidate.attempts) {
      const std::string key = RecordKey(job_id, candidate.number, attempt.number, attempt.token);
      absl::StatusOr<std::string> bytes = from_.GetRecord(key);
      // One that still reads may not be what was logged of it.
      const auto logged = [&](const std::string& record) {
        return key != candidate.record_key || Sha256Hex(record) == candidate.record_sha256;
      };
      const bool lost = bytes.ok() ? !logged(*bytes) : absl::IsNotFound(bytes.status()) || absl::IsDataLoss(bytes.status());
      if (lost && options_.backup != nullptr) {
        absl::StatusOr<std::string> kept = options_.backup->GetRecord(key);
        if (kept.ok() && logged(*kept)) bytes = std::move(kept);
      }
      if (absl::IsNotFound(bytes.status())) continue;
      if (absl::IsDataLoss(bytes.status())) {
        MG_RETURN_IF_ERROR(Damaged(std::string(bytes.status().message())));
        continue;
      }
      MG_RETURN_IF_ERROR(bytes.status());
      MG_RETURN_IF_ERROR(to_.PutRecord(key, *bytes));
      ++report_.records;
    }
    return absl::OkStatus();
  }

  ResultsStore& from_;
  ResultsStore& to_;
  const JobCodec& codec_;
  const CopyStoreOptions& options_;
  int64_t epoch_ = 0;
  std::vector<StoredJob> backup_jobs_;
  CopyStoreReport report_;
};

}  // namespace

absl::StatusOr<CopyStoreReport> CopyStore(ResultsStore* from, ResultsStore* to, const JobCodec& codec,
                                          const CopyStoreOptions& options) {
  return Copy(from, to, codec, options).Run();
}

}  // namespace merganser
