// What the dashboard's API answers, as JSON. Times are Unix seconds; a number that is not finite is null.
#ifndef MERGANSER_COORDINATOR_HTTP_DASHBOARD_JSON_H_
#define MERGANSER_COORDINATOR_HTTP_DASHBOARD_JSON_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/domain/candidate.h"
#include "common/domain/dispatch.h"
#include "common/domain/evaluation.h"
#include "coordinator/http/job_index.h"
#include "nlohmann/json.hpp"

namespace merganser {

using DashboardJson = nlohmann::ordered_json;

// One line of text; what is no UTF-8 (a model may print anything) is replaced.
std::string Dump(const DashboardJson& json);

// A job as the list of jobs and the head of its page show it. `rate`: search candidates per second, 0 if unknown: then the
// mean since the start counts. "left_seconds" is null where the budget names no count or nothing has finished yet.
DashboardJson JobJson(const JobSummary& job, double rate, absl::Time now);
// The rest of its page: settings as YAML, facts of the models, baselines, held-out scores with 95 % intervals, best
// and mean per generation (at most about `generations_max`), the Pareto front, reasons of failures; "best_by": the
// finalists' benchmark where that named the best, else "".
DashboardJson JobDetailsJson(const JobSummary& job, const JobIndex& index, size_t generations_max);
// {"number": [...], "generation": [...], "fitness": [...]} of the search, at most about `count` points; see
// JobIndex::Thinned.
DashboardJson FitnessJson(const JobIndex& index, size_t objective, size_t count);
DashboardJson RowJson(const CandidateRow& row);
DashboardJson EventsJson(const std::vector<const EventLine*>& lines);
// With recipe as YAML, pictures and tables of it.
DashboardJson CandidateJson(const JobSummary& job, const Candidate& candidate);
DashboardJson WorkersJson(const std::vector<WorkerStatus>& workers);

// Of the samples of one benchmark [begin, end): question, answer, completion, prediction, correct.
DashboardJson SamplesJson(const BenchmarkResult& result, size_t offset, size_t limit);

// Two candidates on the same samples, in pairs; where a job draws samples, those that both records have. `show`: "all",
// "differ" (one is right), "a" or "b" (only that one is), "wrong" (neither), "right" (both).
struct Comparison {
  int64_t both = 0, only_a = 0, only_b = 0, neither = 0;
  DashboardJson pairs = DashboardJson::array();  // those of the page
  int64_t total = 0;                             // pairs that `show` lets through
};
Comparison Compare(const BenchmarkResult& a, const BenchmarkResult& b, const std::string& show, size_t offset, size_t limit);

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_HTTP_DASHBOARD_JSON_H_
