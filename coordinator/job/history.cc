#include "coordinator/job/history.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/sha256.h"
#include "common/base/status_macros.h"
#include "coordinator/job/job_state.h"

namespace merganser {
namespace {

constexpr int64_t kPage = 1000;  // events per read

class Checker {
 public:
  Checker(ResultsStore* store, const JobCodec& codec, std::string id, JobSpec spec, const HistoryOptions& options)
      : store_(*store), codec_(codec), options_(options), state_(std::move(id), std::move(spec)) {}

  absl::StatusOr<HistoryReport> Run() {
    while (true) {
      const absl::StatusOr<std::vector<StoredEvent>> page = store_.ReadEvents(state_.id(), state_.seq(), kPage);
      if (absl::IsDataLoss(page.status())) {
        Find("I8", state_.seq() + 1, absl::StrCat("cannot be read: ", page.status().message()));
        return std::move(report_);
      }
      MG_RETURN_IF_ERROR(page.status());
      if (page->empty()) break;
      for (const StoredEvent& stored : *page) {
        MG_ASSIGN_OR_RETURN(const bool goes_on, Event(stored));
        if (!goes_on) return std::move(report_);
      }
    }
    End();
    return std::move(report_);
  }

 private:
  void Find(absl::string_view invariant, int64_t seq, std::string message) {
    report_.findings.push_back({std::string(invariant), state_.id(), seq, std::move(message)});
  }

  // False: the rest of the log cannot be understood.
  absl::StatusOr<bool> Event(const StoredEvent& stored) {
    const absl::StatusOr<JobEvent> event = codec_.DecodeEvent(stored.body);
    if (!event.ok()) {
      Find("I8", stored.seq, absl::StrCat("cannot be read: ", event.status().message()));
      return false;
    }
    max_attempts_ = std::max(max_attempts_, state_.spec().max_attempts);  // an update may lower it later
    const auto* finished = std::get_if<CandidateFinished>(&event->body);
    if (finished != nullptr && ++terminal_[finished->candidate] > 1) {
      Find("I1", stored.seq, absl::StrCat("candidate ", finished->candidate, " ends a second time"));
      return false;
    }
    if (const auto* proposed = std::get_if<CandidatesProposed>(&event->body)) Proposed(stored.seq, *proposed);
    if (absl::Status fits = state_.Apply(stored.seq, *event); !fits.ok()) {
      Find("I8", stored.seq, std::string(fits.message()));
      return false;
    }
    ++report_.events;
    // What a failed job that is resumed tries again ends once more.
    if (const auto* action = std::get_if<ActionTaken>(&event->body); action != nullptr && action->reopens) {
      for (const int64_t number : state_.unfinished()) terminal_.erase(number);
    }
    if (const auto* ended = std::get_if<AttemptEnded>(&event->body)) Ended(stored.seq, *ended);
    if (finished != nullptr && !finished->record_key.empty()) {
      MG_RETURN_IF_ERROR(
          Committed(stored.seq, finished->candidate, finished->attempt, finished->record_key, finished->record_sha256));
    }
    if (const auto* block = std::get_if<BlockScored>(&event->body); block != nullptr && block->attempt > 0) {
      MG_RETURN_IF_ERROR(Committed(stored.seq, block->candidate, block->attempt, block->record_key, block->record_sha256));
    }
    return true;
  }

  void Proposed(int64_t seq, const CandidatesProposed& proposed) {
    bool search = false;
    for (const Candidate& candidate : proposed.candidates) search |= candidate.kind == CandidateKind::kSearch;
    // A rolling search has no barrier between generations.
    if (!search || state_.generations().empty() || state_.spec().mode == SearchMode::kRolling) return;
    for (const int64_t number : state_.generations().back()) {
      if (!IsTerminal(state_.Find(number)->state)) {
        Find("I3", seq,
             absl::StrCat("a generation is proposed while candidate ", number, " of the last one is not finished"));
      }
    }
  }

  void Ended(int64_t seq, const AttemptEnded& ended) {
    const int counted = CountedAttempts(*state_.Find(ended.candidate));
    if (counted > max_attempts_) {
      Find("I6", seq,
           absl::StrCat("candidate ", ended.candidate, " has ", counted, " counted attempts, more than ", max_attempts_));
    }
  }

  absl::Status Committed(int64_t seq, int64_t number, int of_attempt, const std::string& record_key,
                         const std::string& record_sha256) {
    ++report_.results;
    const Candidate& candidate = *state_.Find(number);
    if (of_attempt < 1 || of_attempt > static_cast<int>(candidate.attempts.size())) {
      Find("I12", seq, absl::StrCat("candidate ", candidate.number, ": a record of no attempt"));
      return absl::OkStatus();
    }
    const Attempt& attempt = candidate.attempts[of_attempt - 1];
    const std::string key = RecordKey(state_.id(), candidate.number, attempt.number, attempt.token);
    if (record_key != key) {
      Find("I12", seq,
           absl::StrCat("candidate ", candidate.number, ": its record is ", record_key, ", its attempt's is ", key));
      return absl::OkStatus();
    }
    if (!options_.records) return absl::OkStatus();
    const absl::StatusOr<std::string> bytes = store_.GetRecord(key);
    if (absl::IsNotFound(bytes.status()) || absl::IsDataLoss(bytes.status())) {
      Find("I12", seq, absl::StrCat("candidate ", candidate.number, ": ", bytes.status().message()));
      return absl::OkStatus();
    }
    MG_RETURN_IF_ERROR(bytes.status());
    const std::string sha256 = Sha256Hex(*bytes);
    const absl::StatusOr<RecordSummary> record = codec_.DecodeRecord(*bytes);
    if (sha256 != record_sha256) {
      Find("I12", seq, absl::StrCat("record ", key, ": its sha256 is ", sha256, ", logged is ", record_sha256));
    } else if (!record.ok() || record->token != attempt.token || record->candidate != candidate.number ||
               record->job_id != state_.id() || record->attempt != attempt.number) {
      Find("I12", seq, absl::StrCat("record ", key, ": it is another attempt's, or damaged"));
    } else {
      ++report_.records;
    }
    return absl::OkStatus();
  }

  void End() {
    report_.over = state_.over();
    for (size_t i = 0; i < state_.stages().size(); ++i) {
      const int64_t proposed = state_.stages()[i].proposed;
      const int64_t allowed = StageOf(state_.spec(), static_cast<int>(i)).budget.candidates;
      if (allowed > 0 && proposed > allowed) {
        Find("I4", 0,
             absl::StrCat(proposed, " candidates are proposed", i == 0 ? "" : absl::StrCat(" in stage ", i + 1),
                          ", the budget allows ", allowed));
      }
    }
    if (state_.over() && state_.phase() == JobPhase::kSucceeded && state_.search_finished() != state_.search_proposed()) {
      Find("I4", 0,
           absl::StrCat("the job succeeded with ", state_.search_finished(), " of ", state_.search_proposed(),
                        " candidates finished"));
    }
    if (options_.must_be_over && !state_.over()) {
      Find("I10", 0,
           absl::StrCat("the job is not over: ", ToString(state_.phase()), ", ",
                        state_.queued().size() + state_.waiting().size(), " candidates queued, ", state_.running().size(),
                        " running"));
    }
    for (const AckedResult& acked : options_.acked) {
      if (acked.job_id != state_.id()) continue;
      const Candidate* candidate = state_.Find(acked.candidate);
      const auto scored = [&](const Attempt& attempt) {
        return attempt.scored && RecordKey(state_.id(), acked.candidate, attempt.number, attempt.token) == acked.record_key;
      };
      if (candidate == nullptr || (candidate->record_key != acked.record_key &&
                                   std::none_of(candidate->attempts.begin(), candidate->attempts.end(), scored))) {
        Find("I2", 0,
             absl::StrCat("candidate ", acked.candidate, ": the acked result ", acked.record_key, " is not in the log"));
      }
    }
  }

  ResultsStore& store_;
  const JobCodec& codec_;
  const HistoryOptions& options_;
  JobState state_;
  std::map<int64_t, int> terminal_;
  int max_attempts_ = 0;
  HistoryReport report_;
};

}  // namespace

std::string ToString(const HistoryFinding& finding) {
  return absl::StrCat(finding.invariant, " ", finding.job_id, finding.seq > 0 ? absl::StrCat(" event ", finding.seq) : "",
                      ": ", finding.message);
}

absl::StatusOr<HistoryReport> CheckHistory(ResultsStore* store, const JobCodec& codec, const StoredJob& job,
                                           const HistoryOptions& options) {
  absl::StatusOr<JobSpec> spec = codec.DecodeSpec(job.spec);
  if (!spec.ok()) {
    HistoryReport report;
    report.findings.push_back({"I8", job.id, 0, absl::StrCat("its spec cannot be read: ", spec.status().message())});
    return report;
  }
  return Checker(store, codec, job.id, *std::move(spec), options).Run();
}

}  // namespace merganser
