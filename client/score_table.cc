#include "client/score_table.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/output.h"
#include "common/domain/scored_items.h"

namespace merganser {
namespace {

constexpr char kStandardError[] = "_stderr";

void Add(const JobSummary& job, const Candidate& candidate, const std::string& model, const IntervalFunction& interval,
         ScoreTable* table) {
  for (const auto& [benchmark, metrics] : candidate.metrics) {
    const int64_t n = job.facts ? ScoredItems(job.spec, *job.facts, benchmark) : 0;
    (*table)[benchmark][model] = ScoresOfMetrics(metrics, n, interval);
  }
}

std::string MetricToShow(const JobSummary& job, const std::map<std::string, Score>& metrics) {
  for (const Objective& objective : job.spec.objectives) {
    if (metrics.count(objective.metric) != 0) return objective.metric;
  }
  return StrictestMetric(metrics);
}

}  // namespace

std::map<std::string, Score> ScoresOfMetrics(const std::map<std::string, double>& metrics, int64_t n,
                                             const IntervalFunction& interval) {
  std::map<std::string, Score> scores;
  for (const auto& [metric, value] : metrics) {
    if (absl::EndsWith(metric, kStandardError)) continue;
    Score score{.value = value, .n = n};
    // Of one sample an error says nothing; an average that has none has a member with one sample.
    if (const auto error = metrics.find(absl::StrCat(metric, kStandardError)); error != metrics.end()) {
      scores[metric] = score;
      if (n == 1) continue;
      score.interval = std::make_pair(value - 1.96 * error->second, value + 1.96 * error->second);
      score.standard_error = error->second;
    } else if (n > 1 && value >= 0 && value <= 1 && metrics.count("average") == 0) {
      score.interval = interval(value * static_cast<double>(n), n);
      score.standard_error = std::sqrt(value * (1 - value) / static_cast<double>(n - 1));
    }
    scores[metric] = score;
  }
  return scores;
}

std::string IntervalText(const std::string& metric, const Score& score, bool may_be_negative) {
  if (!score.interval) return "-";
  auto [low, high] = *score.interval;
  if (absl::EndsWith(FormatMetric(metric, score.value), "%")) {
    may_be_negative = may_be_negative || absl::EndsWith(metric, "mcc") || metric == "average" || score.value < 0;
    low = std::max(low, may_be_negative ? -1.0 : 0.0);
    high = std::min(high, 1.0);
  }
  return absl::StrCat(FormatMetric(metric, low), " to ", FormatMetric(metric, high));
}

std::string ItemsText(const Score& score) { return score.n > 0 ? FormatCount(score.n) : "-"; }

ScoreTable HeldOutScores(const JobSummary& job, const std::vector<Candidate>& candidates, const IntervalFunction& interval) {
  ScoreTable table;
  for (const Candidate& c : candidates) {
    if (c.kind == CandidateKind::kHeldOut && c.state == CandidateState::kSucceeded) Add(job, c, c.label, interval, &table);
  }
  return table;
}

ScoreTable SearchScores(const JobSummary& job, const std::vector<Candidate>& candidates, const IntervalFunction& interval) {
  ScoreTable table;
  for (const Candidate& c : candidates) {
    if (c.state != CandidateState::kSucceeded) continue;
    if (c.kind == CandidateKind::kSource || c.kind == CandidateKind::kAverage) Add(job, c, c.label, interval, &table);
    if (job.best_candidate == c.number) Add(job, c, "winner", interval, &table);
  }
  return table;
}

std::string StrictestMetric(const std::map<std::string, Score>& metrics) {
  if (metrics.count("average") != 0) return "average";
  for (const auto& [name, score] : metrics) {
    // "acc_ja", but not "acc_norm": a language has two or three letters.
    if (name.rfind("acc_", 0) == 0 && name.size() <= 7) return name;
  }
  for (const char* name : {"acc", "exact_match", "log_likelihood"}) {
    if (metrics.count(name) != 0) return name;
  }
  return metrics.empty() ? "" : metrics.begin()->first;
}

std::vector<std::string> ModelsInOrder(const JobSummary& job,
                                       const std::map<std::string, std::map<std::string, Score>>& scores) {
  std::vector<std::string> models;
  for (const ModelRef& model : job.spec.models) {
    if (scores.count(model.name) != 0) models.push_back(model.name);
  }
  std::vector<std::string> more = {"average"};
  for (int stage = 1; stage < NumStages(job.spec); ++stage) more.push_back(absl::StrCat("stage-", stage));
  more.push_back("winner");
  more.push_back("exported");
  for (const std::string& name : more) {
    if (scores.count(name) != 0) models.push_back(name);
  }
  return models;
}

std::string ScoreTableText(const JobSummary& job, const ScoreTable& table) {
  std::string text;
  for (const auto& [benchmark, scores] : table) {
    const std::vector<std::string> models = ModelsInOrder(job, scores);
    if (models.empty()) continue;
    const std::string metric = MetricToShow(job, scores.at(models.back()));
    Table rows({"model", absl::StrCat(">", metric), ">95 % interval", ">n"});
    for (const std::string& model : models) {
      const auto it = scores.at(model).find(metric);
      if (it == scores.at(model).end()) continue;
      const Score& s = it->second;
      rows.Add({model, FormatMetric(metric, s.value), IntervalText(metric, s), ItemsText(s)});
    }
    absl::StrAppend(&text, text.empty() ? "" : "\n", benchmark, "\n", rows.Render());
  }
  return text;
}

}  // namespace merganser
