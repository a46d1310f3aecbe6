// report.html: a run at a glance, in one file without scripts or network. Its pictures are those of the dashboard
// (common/draw).
#ifndef MERGANSER_CLIENT_REPORT_HTML_H_
#define MERGANSER_CLIENT_REPORT_HTML_H_

#include <optional>
#include <string>
#include <vector>

#include "client/front_report.h"
#include "client/score_table.h"
#include "common/domain/candidate.h"

namespace merganser {

// Scores with intervals, fitness per generation, the Pareto front of several objectives, the best recipe as pictures, as a
// table and as YAML, where the time went, failures, the job as YAML and how to repeat it. `held_out`: `scores` are of
// benchmarks that the search has not seen. `front`: what the Pareto front is worth.
std::string ReportHtml(const JobSummary& job, const std::vector<Candidate>& candidates, const ScoreTable& scores,
                       bool held_out, const std::optional<FrontReport>& front = std::nullopt);

}  // namespace merganser

#endif  // MERGANSER_CLIENT_REPORT_HTML_H_
