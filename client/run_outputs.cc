#include "client/run_outputs.h"

#include "absl/strings/str_cat.h"
#include "client/model_card.h"
#include "client/report_html.h"
#include "client/run_files.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/codec/job_codec.h"
#include "common/domain/scored_items.h"
#include "coordinator/search_space/parameter_space.h"

namespace merganser {

absl::StatusOr<std::vector<Candidate>> ReadCandidates(JobReader& reader, const std::string& job) {
  MG_ASSIGN_OR_RETURN(const std::vector<v1::Candidate> protos, reader.ListCandidates(job, {}));
  std::vector<Candidate> candidates(protos.size());
  for (size_t i = 0; i < protos.size(); ++i) {
    MG_ASSIGN_OR_RETURN(candidates[i], FromProto(protos[i]));
  }
  return candidates;
}

RunScores ScoresOf(const JobSummary& job, const std::vector<Candidate>& candidates, LocalLibrary& library) {
  const IntervalFunction interval = [&](double successes, int64_t n) { return library.WilsonInterval(successes, n); };
  RunScores scores{HeldOutScores(job, candidates, interval), true};
  if (scores.table.empty()) scores = {SearchScores(job, candidates, interval), false};
  return scores;
}

absl::StatusOr<ExportFacts> ExportBest(const JobSummary& job, const std::vector<Candidate>& candidates,
                                       const RunScores& scores, const std::string& out_dir, LocalLibrary& library,
                                       const LocalOptions& options, std::stop_token stop) {
  const Candidate* best = BestCandidate(job, candidates);
  if (best == nullptr) return absl::NotFoundError(absl::StrCat("job ", job.id, " has no best candidate"));
  ExportRequest request;
  request.recipe = best->recipe;
  request.out_dir = out_dir;
  request.overwrite = true;  // an earlier export of the same job
  request.text_files = ExportTextFiles(job, *best, scores.table, scores.held_out);
  return library.Export(request, options, stop);
}

absl::Status ScoreExported(const JobSummary& job, const std::string& dir, LocalLibrary& library, const LocalOptions& options,
                           std::stop_token stop, RunScores* scores) {
  constexpr char kExported[] = "exported";
  JobSpec spec;
  spec.name = kExported;
  spec.models = {{kExported, dir}};
  spec.parameter.method = "linear";
  spec.parameter.sources = {kExported};
  spec.dtype = job.spec.dtype;
  spec.benchmarks = job.spec.benchmarks;  // held-out ones may extend them
  spec.benchmarks.insert(spec.benchmarks.end(), job.spec.held_out.begin(), job.spec.held_out.end());
  std::vector<std::string> names;
  for (const BenchmarkSpec& b : job.spec.held_out) names.push_back(b.name);
  MG_ASSIGN_OR_RETURN(const auto evaluator, library.CreateEvaluator(options));
  MG_ASSIGN_OR_RETURN(const Evaluation evaluation,
                      evaluator->Evaluate(
                          spec, SourceRecipe(spec, kExported), names, [](absl::string_view) {}, stop));
  const IntervalFunction interval = [&](double successes, int64_t n) { return library.WilsonInterval(successes, n); };
  for (const BenchmarkResult& result : evaluation.results) {
    scores->table[result.benchmark][kExported] =
        ScoresOfMetrics(result.metrics, job.facts ? ScoredItems(job.spec, *job.facts, result.benchmark) : 0, interval);
  }
  return absl::OkStatus();
}

absl::Status WriteRunFiles(const JobSummary& job, const std::vector<Candidate>& candidates, const RunScores& scores,
                           const std::optional<FrontReport>& front, const std::string& dir,
                           const std::map<std::string, double>& seconds) {
  MG_RETURN_IF_ERROR(WriteFileAtomically(absl::StrCat(dir, "/candidates.jsonl"), CandidatesJsonl(job, candidates)));
  MG_RETURN_IF_ERROR(WriteFileAtomically(absl::StrCat(dir, "/report.html"),
                                         ReportHtml(job, candidates, scores.table, scores.held_out, front)));
  const ScoreTable none;
  return WriteFileAtomically(absl::StrCat(dir, "/summary.json"),
                             SummaryJson(job, candidates, scores.held_out ? scores.table : none, seconds, front));
}

}  // namespace merganser
