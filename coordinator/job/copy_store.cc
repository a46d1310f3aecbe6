#include "coordinator/job/copy_store.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
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
    MG_ASSIGN_OR_RETURN(const std::vector<StoredJob> jobs, from_.ListJobs());
    if (options_.backup != nullptr) {
      MG_ASSIGN_OR_RETURN(backup_jobs_, options_.backup->ListJobs());
    }
    MG_ASSIGN_OR_RETURN(epoch_, to_.Lead("merganser store", kLease));
    absl::Status status = CopyJobs(jobs);
    (void)to_.ReleaseLead(epoch_);
    MG_RETURN_IF_ERROR(status);
    return std::move(report_);
  }

 private:
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
    int64_t compared = 0;
    while (true) {
      const int64_t begin = state.seq();
      absl::StatusOr<std::vector<StoredEvent>> page = from_.ReadEvents(job.id, begin, kPage);
      // One by one up to the one that cannot be read.
      if (absl::IsDataLoss(page.status()) && options_.backup != nullptr) {
        absl::StatusOr<std::vector<StoredEvent>> next = from_.ReadEvents(job.id, begin, 1);
        if (next.ok() && !next->empty()) page = std::move(next);
      }
      if (absl::IsDataLoss(page.status())) {
        const std::string what = absl::StrCat(job.id, " after event ", begin, ": ", page.status().message());
        MG_ASSIGN_OR_RETURN(const bool mended, Mend(job, what, &state, &compared));
        if (mended) continue;
        break;
      }
      MG_RETURN_IF_ERROR(page.status());
      const bool last = page->empty() || (options_.backup == nullptr && static_cast<int64_t>(page->size()) < kPage);
      std::vector<std::string> bodies;
      absl::Status damage;
      for (const StoredEvent& stored : *page) {
        const absl::StatusOr<JobEvent> event = codec_.DecodeEvent(stored.body);
        damage = event.ok() ? state.Apply(stored.seq, *event) : event.status();
        if (!damage.ok()) break;
        bodies.push_back(stored.body);
        // Ahead of the events, which may say that it is there.
        if (const auto* finished = std::get_if<CandidateFinished>(&event->body)) {
          MG_RETURN_IF_ERROR(CopyRecords(job.id, *state.Find(finished->candidate)));
        }
      }
      MG_RETURN_IF_ERROR(AppendRest(job.id, begin, bodies));
      MG_RETURN_IF_ERROR(to_.RenewLead(epoch_, kLease));
      report_.events += static_cast<int64_t>(bodies.size());
      if (options_.on_progress) options_.on_progress(job.id, state.seq());
      if (!damage.ok()) {
        const std::string what = absl::StrCat(job.id, " event ", state.seq() + 1, ": ", damage.message());
        MG_ASSIGN_OR_RETURN(const bool mended, Mend(job, what, &state, &compared));
        if (mended) continue;
        break;
      }
      if (last) break;
    }
    // Records of attempts that nobody reported yet, or whose report is behind the damage: whoever leads the copy adopts
    // them.
    for (const auto* numbers : {&state.queued(), &state.running()}) {
      for (const int64_t number : *numbers) MG_RETURN_IF_ERROR(CopyRecords(job.id, *state.Find(number)));
    }
    return absl::OkStatus();
  }

  // Takes the event after the state's from the backup, whose log must be the same up to there (`compared`: how far that is
  // known). False if it cannot be had: then it is damage.
  absl::StatusOr<bool> Mend(const StoredJob& job, const std::string& damage, JobState* state, int64_t* compared) {
    const auto left_out = [&](absl::string_view why) -> absl::StatusOr<bool> {
      MG_RETURN_IF_ERROR(Damaged(why.empty() ? damage : absl::StrCat(damage, "; ", why)));
      return false;
    };
    if (options_.backup == nullptr) return left_out("");
    const auto kept = std::find_if(backup_jobs_.begin(), backup_jobs_.end(),
                                   [&](const StoredJob& other) { return other.id == job.id && other.spec == job.spec; });
    if (kept == backup_jobs_.end()) return left_out("the backup has no such job");
    const auto backup_is_damaged = [&](const absl::Status& status) {
      return left_out(absl::StrCat("the backup is damaged, too: ", status.message()));
    };
    while (*compared < state->seq()) {
      const int64_t count = std::min(kPage, state->seq() - *compared);
      MG_ASSIGN_OR_RETURN(const std::vector<StoredEvent> copied, to_.ReadEvents(job.id, *compared, count));
      const absl::StatusOr<std::vector<StoredEvent>> older = options_.backup->ReadEvents(job.id, *compared, count);
      if (absl::IsDataLoss(older.status())) return backup_is_damaged(older.status());
      MG_RETURN_IF_ERROR(older.status());
      if (copied != *older) {
        return left_out(static_cast<int64_t>(older->size()) < count ? "the backup ends before it"
                                                                    : "the backup has another log of that job");
      }
      *compared += count;
    }
    const absl::StatusOr<std::vector<StoredEvent>> next = options_.backup->ReadEvents(job.id, state->seq(), 1);
    if (absl::IsDataLoss(next.status())) return backup_is_damaged(next.status());
    MG_RETURN_IF_ERROR(next.status());
    if (next->empty()) return left_out("the backup ends before it");
    const StoredEvent& stored = next->front();
    const absl::StatusOr<JobEvent> event = codec_.DecodeEvent(stored.body);
    const absl::Status fits = event.ok() ? state->Apply(stored.seq, *event) : event.status();
    if (!fits.ok()) return left_out(absl::StrCat("nor does the backup's fit: ", fits.message()));
    if (const auto* finished = std::get_if<CandidateFinished>(&event->body)) {
      MG_RETURN_IF_ERROR(CopyRecords(job.id, *state->Find(finished->candidate)));
    }
    MG_RETURN_IF_ERROR(AppendRest(job.id, state->seq() - 1, {stored.body}));
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
      if ((absl::IsNotFound(bytes.status()) || absl::IsDataLoss(bytes.status())) && options_.backup != nullptr) {
        absl::StatusOr<std::string> kept = options_.backup->GetRecord(key);
        if (kept.ok()) bytes = std::move(kept);
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
