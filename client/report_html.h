// report.html: a run at a glance, in one file without scripts or network.
#ifndef MERGANSER_CLIENT_REPORT_HTML_H_
#define MERGANSER_CLIENT_REPORT_HTML_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "client/score_table.h"
#include "common/domain/candidate.h"

namespace merganser {

// Fitness per generation as an inline SVG, the best recipe's parameters per group as a heat table,
// scores with intervals, failures. `held_out`: `scores` are of benchmarks that the search has not
// seen.
std::string ReportHtml(const JobSummary& job, const std::vector<Candidate>& candidates, const ScoreTable& scores,
                       bool held_out);

// The chart alone: a point per candidate, lines for the best so far and each generation's mean, a
// dashed line per baseline; first objective. "" if no candidate of the search has a fitness.
std::string FitnessSvg(const JobSummary& job, const std::vector<Candidate>& candidates);

// Text for HTML and attributes.
std::string EscapeHtml(absl::string_view text);

}  // namespace merganser

#endif  // MERGANSER_CLIENT_REPORT_HTML_H_
