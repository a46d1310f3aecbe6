// What a finished run leaves in its folder: best/ (checkpoint, recipe, model card), report.html,
// candidates.jsonl, summary.json; and the table at its end.
#ifndef MERGANSER_CLIENT_RUN_OUTPUTS_H_
#define MERGANSER_CLIENT_RUN_OUTPUTS_H_

#include <map>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/front_report.h"
#include "client/job_reader.h"
#include "client/score_table.h"
#include "worker/evaluate/local_library.h"

namespace merganser {

struct RunScores {
  ScoreTable table;
  bool held_out = false;  // of benchmarks that the search has not seen; else of the search's own
};

// Every candidate of `job`, in order.
absl::StatusOr<std::vector<Candidate>> ReadCandidates(JobReader& reader, const std::string& job);

// The held-out scores, or the search's own where the job has none.
RunScores ScoresOf(const JobSummary& job, const std::vector<Candidate>& candidates, LocalLibrary& library);

// Writes the best candidate's checkpoint with recipe.yaml and README.md. NotFound if the job has
// none.
absl::StatusOr<ExportFacts> ExportBest(const JobSummary& job, const std::vector<Candidate>& candidates,
                                       const RunScores& scores, const std::string& out_dir, LocalLibrary& library,
                                       const LocalOptions& options, std::stop_token stop);

// Scores the checkpoint in `dir` on the job's held-out benchmarks and adds them to the table as "exported". A path that is
// folded into a checkpoint rounds its scales differently, so the winner's own scores are not those of what was written.
absl::Status ScoreExported(const JobSummary& job, const std::string& dir, LocalLibrary& library, const LocalOptions& options,
                           std::stop_token stop, RunScores* scores);

// report.html, candidates.jsonl, summary.json. `front`: of several objectives. `seconds`: this process's, for summary.json's
// timing.
absl::Status WriteRunFiles(const JobSummary& job, const std::vector<Candidate>& candidates, const RunScores& scores,
                           const std::optional<FrontReport>& front, const std::string& dir,
                           const std::map<std::string, double>& seconds);

}  // namespace merganser

#endif  // MERGANSER_CLIENT_RUN_OUTPUTS_H_
