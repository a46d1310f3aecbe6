// The part of JobLoop that takes many results at once: a store that syncs each write to disk takes a group in the time of
// one.
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "coordinator/job/job_loop.h"

namespace merganser {

std::vector<absl::StatusOr<Disposition>> JobLoop::ReportAttempts(const std::vector<AttemptReport>& reports,
                                                                 std::vector<std::string> read) {
  read.resize(reports.size());
  std::vector<std::optional<absl::StatusOr<Disposition>>> answers(reports.size());
  // Results of open candidates, each candidate's first; whatever else is in a report, the plain way finds it out.
  struct Result {
    size_t report;
    const Candidate* candidate;
    const Attempt* attempt;
  };
  std::map<Job*, std::vector<Result>> results;
  std::set<std::pair<Job*, int64_t>> taken;
  for (size_t i = 0; i < reports.size(); ++i) {
    const AttemptReport& report = reports[i];
    const auto job = job_by_id_.find(report.id.job_id);
    if (report.failure.has_value() || !Ready().ok() || job == job_by_id_.end() || job->second->log.stalled()) continue;
    const Candidate* const candidate = job->second->log.state().Find(report.id.candidate);
    const bool known = candidate != nullptr && !IsTerminal(candidate->state) && report.id.attempt >= 1 &&
                       report.id.attempt <= static_cast<int>(candidate->attempts.size());
    if (!known) continue;
    const Attempt& attempt = candidate->attempts[report.id.attempt - 1];
    const std::string key = RecordKey(report.id.job_id, report.id.candidate, report.id.attempt, attempt.token);
    if (attempt.token != report.token || report.record_key != key || job->second->log.state().IsPast(*candidate, attempt))
      continue;
    if (taken.emplace(job->second, candidate->number).second) results[job->second].push_back({i, candidate, &attempt});
  }
  for (const auto& [job, of_job] : results) {
    std::vector<std::string> missing;
    for (const Result& result : of_job) {
      if (read[result.report].empty()) missing.push_back(reports[result.report].record_key);
    }
    if (!missing.empty()) {
      std::vector<absl::StatusOr<std::string>> records = store_.GetRecords(missing);
      size_t next = 0;
      for (const Result& result : of_job) {
        if (!read[result.report].empty()) continue;
        absl::StatusOr<std::string>& record = records[next++];
        if (record.ok()) read[result.report] = *std::move(record);
      }
    }
    std::vector<EventBody> events;
    std::vector<std::string> required;
    std::vector<size_t> together;
    std::set<size_t> late;
    for (const Result& result : of_job) {
      const std::string bytes = std::move(read[result.report]);
      if (bytes.empty()) continue;
      absl::StatusOr<EventBody> finished =
          ParseRecord(*job, *result.candidate, *result.attempt, reports[result.report].record_sha256, bytes);
      if (!finished.ok()) continue;
      events.emplace_back(*std::move(finished));
      required.push_back(reports[result.report].record_key);
      together.push_back(result.report);
      if (result.attempt->ended) late.insert(result.report);
    }
    if (events.empty()) continue;
    AddStarts(*job, &events);
    const absl::Status stored = Commit(*job, std::move(events), std::move(required));
    if (absl::IsFailedPrecondition(stored)) continue;  // one of them is gone: which one, the plain way finds out
    for (const size_t i : together) {
      if (stored.ok() && observer_ != nullptr) observer_->OnReport(Disposition::kCommitted);
      if (stored.ok() && observer_ != nullptr && late.contains(i)) observer_->OnLateResult(Disposition::kCommitted);
      answers[i] = stored.ok() ? absl::StatusOr<Disposition>(Disposition::kCommitted) : stored;
    }
  }
  std::vector<absl::StatusOr<Disposition>> all;
  for (size_t i = 0; i < reports.size(); ++i) {
    all.push_back(answers[i].has_value() ? *std::move(answers[i]) : ReportAttempt(reports[i]));
  }
  return all;
}

}  // namespace merganser
