// What every model of a job scored, with intervals: the table at the end of `run`, in the model
// card and in the report.
#ifndef MERGANSER_CLIENT_SCORE_TABLE_H_
#define MERGANSER_CLIENT_SCORE_TABLE_H_

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/domain/candidate.h"

namespace merganser {

struct Score {
  double value = 0;
  // 95 % interval: Wilson's, or 1.96 standard errors to each side. None of what a program says of itself without an error.
  std::optional<std::pair<double, double>> interval;
  double standard_error = 0;  // where there is an interval
  int64_t n = 0;              // samples; of pass@k problems; 0: not known, as of a program
};

// {benchmark: {model: {metric: score}}}; a model is a source's name, "average" or "winner".
using ScoreTable = std::map<std::string, std::map<std::string, std::map<std::string, Score>>>;

// (sum of shares, n) -> interval.
using IntervalFunction = std::function<std::pair<double, double>(double, int64_t)>;

// {metric: score} of a benchmark's metrics, of which "NAME_stderr" is the error of NAME.
std::map<std::string, Score> ScoresOfMetrics(const std::map<std::string, double>& metrics, int64_t n,
                                             const IntervalFunction& interval);
// "3.0 % to 13.0 %", as FormatMetric writes the value; "-" where there is no interval. Of a percentage it is cut at 100 %,
// and at 0 unless the metric may be below (a correlation, an average, or what `may_be_negative` says so of): what lies beyond
// is the normal approximation's.
std::string IntervalText(const std::string& metric, const Score& score, bool may_be_negative = false);
// Score::n; "-" where it is not known.
std::string ItemsText(const Score& score);

// Of the held-out candidates that succeeded.
ScoreTable HeldOutScores(const JobSummary& job, const std::vector<Candidate>& candidates, const IntervalFunction& interval);
// On the benchmarks of the search: the baselines, and the best candidate as "winner". Its scores
// are those that it was chosen by, so they flatter it.
ScoreTable SearchScores(const JobSummary& job, const std::vector<Candidate>& candidates, const IntervalFunction& interval);

// The metric that a sample passes only if it passes the others: one that asks for a language
// ("acc_ja") before "acc"; "" if there is none.
std::string StrictestMetric(const std::map<std::string, Score>& metrics);

// Sources in the job's order, "average", "winner": those that `scores` has.
std::vector<std::string> ModelsInOrder(const JobSummary& job,
                                       const std::map<std::string, std::map<std::string, Score>>& scores);

// For people: per benchmark a line of title and a table of one metric, that of the objectives if the benchmark has it, else
// the strictest; "" for an empty table.
std::string ScoreTableText(const JobSummary& job, const ScoreTable& table);

}  // namespace merganser

#endif  // MERGANSER_CLIENT_SCORE_TABLE_H_
