#include "client/run_files.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/output.h"
#include "common/codec/recipe_codec.h"
#include "coordinator/job/ranking.h"

namespace merganser {

std::string ObjectiveName(const Objective& objective) { return absl::StrCat(objective.benchmark, ".", objective.metric); }

std::vector<std::string> FitnessNames(const JobSpec& spec, const Candidate& candidate) {
  if (candidate.kind == CandidateKind::kFinalist && !spec.objectives.empty()) {
    const Finalists& finalists = spec.finalists;
    return {absl::StrCat(finalists.benchmark, ".", finalists.metric.empty() ? spec.objectives[0].metric : finalists.metric)};
  }
  std::vector<std::string> names;
  for (const Objective& objective : spec.objectives) names.push_back(ObjectiveName(objective));
  return names;
}

std::string PathText(const Recipe& recipe) {
  std::string text;
  if (recipe.stacks.empty()) return text;
  for (const Hop& hop : recipe.path) {
    const bool known =
        hop.stack >= 0 && hop.stack < static_cast<int>(recipe.stacks.size());  // a recipe by hand may be wrong
    absl::StrAppend(&text, text.empty() ? "" : " ", known ? recipe.stacks[hop.stack].name : absl::StrCat(hop.stack), ".",
                    hop.layer, hop.scale == 1 ? "" : absl::StrFormat("*%.3g", hop.scale));
  }
  if (text.empty()) return text;
  const std::string& first = recipe.stacks[0].name;
  return absl::StrCat(text, "; embedding of ", recipe.embedding_from.empty() ? first : recipe.embedding_from, ", head of ",
                      recipe.head_from.empty() ? first : recipe.head_from);
}

Json FitnessJson(const JobSpec& spec, const Candidate& candidate) {
  if (candidate.fitness.empty()) return nullptr;
  const std::vector<std::string> names = FitnessNames(spec, candidate);
  Json json = Json::object();
  for (size_t i = 0; i < candidate.fitness.size() && i < names.size(); ++i) json[names[i]] = candidate.fitness[i];
  return json;
}

Json TimingsJson(const PhaseTimings& t) {
  return {{"materialize", t.materialize},
          {"tokenize", t.tokenize},
          {"prefill", t.prefill},
          {"decode", t.decode},
          {"score", t.score}};
}

const Candidate* BestCandidate(const JobSummary& job, const std::vector<Candidate>& candidates) {
  for (const Candidate& c : candidates) {
    if (job.best_candidate == c.number) return &c;
  }
  return nullptr;
}

std::string BetterBaseline(const JobSummary& job, const std::vector<Candidate>& candidates) {
  if (job.spec.samples.per_generation > 0 || job.spec.finalists.count > 0) return "";
  const Candidate* const winner = BestCandidate(job, candidates);
  if (winner == nullptr || winner->fitness.empty()) return "";
  const Candidate* better = winner;
  for (const Candidate& c : candidates) {
    const bool baseline = c.kind == CandidateKind::kSource || c.kind == CandidateKind::kAverage;
    if (baseline && !c.fitness.empty() && RanksBefore(job.spec, candidates, c, *better)) better = &c;
  }
  if (better == winner) return "";
  return absl::StrCat(
      better->kind == CandidateKind::kAverage ? "the plain average" : absl::StrCat(better->label, " as it is"),
      " does better on the samples of the search (fitness ", FitnessText(better->fitness), ")");
}

std::string SummaryJson(const JobSummary& job, const std::vector<Candidate>& candidates, const ScoreTable& held_out,
                        const std::map<std::string, double>& more, const std::optional<FrontReport>& front_report) {
  Json counts = {
      {"succeeded", job.succeeded}, {"failed", job.failed}, {"cancelled", job.cancelled}, {"search", job.search_finished}};
  if (job.queued + job.running > 0) {
    counts["queued"] = job.queued;
    counts["running"] = job.running;
  }
  Json best = nullptr;
  if (const Candidate* c = BestCandidate(job, candidates)) {
    best = {{"candidate", c->number}, {"fitness", FitnessJson(job.spec, *c)}, {"recipe", MessageJson(ToProto(c->recipe))}};
  }
  Json front = Json::array();
  if (job.spec.objectives.size() > 1) {
    for (const int64_t number : ParetoFront(job.spec, candidates)) {
      for (const Candidate& c : candidates) {
        if (c.number == number) front.push_back({{"candidate", number}, {"fitness", FitnessJson(job.spec, c)}});
      }
    }
  }
  Json scores = Json::object();
  for (const auto& [benchmark, models] : held_out) {
    for (const std::string& model : ModelsInOrder(job, models)) {
      for (const auto& [metric, s] : models.at(model)) {
        Json& score = scores[benchmark][model][metric];
        score["value"] = s.value;
        if (s.n > 0) score["n"] = s.n;
        if (s.interval) {
          score["low"] = s.interval->first;
          score["high"] = s.interval->second;
          score["stderr"] = s.standard_error;
        }
      }
    }
  }
  Json timing = TimingsJson(job.timings);
  for (const auto& [phase, seconds] : more) timing[phase] = seconds;
  Json summary = {{"job", job.spec.name},
                  {"state", std::string(ToString(job.phase))},
                  {"candidates", std::move(counts)},
                  {"best", std::move(best)},
                  {"held_out", std::move(scores)},
                  {"timing", std::move(timing)}};
  if (!front.empty()) summary["front"] = std::move(front);
  if (front_report) summary["front_hypervolume"] = FrontJson(job.spec, *front_report);
  return DumpJson(summary);
}

std::string CandidatesJsonl(const JobSummary& job, const std::vector<Candidate>& candidates) {
  std::string lines;
  for (const Candidate& c : candidates) {
    const Json line = {
        {"candidate", c.number},
        {"kind", std::string(ToString(c.kind))},
        {"label", c.label},
        {"generation", c.generation >= 0 && c.kind == CandidateKind::kSearch ? Json(c.generation) : Json(nullptr)},
        {"state", std::string(ToString(c.state))},
        {"fitness", FitnessJson(job.spec, c)},
        {"metrics", Json(c.metrics)},
        {"attempts", c.attempts.size()},
        {"message", c.message},
        {"timings", TimingsJson(c.timings)},
        {"recipe", c.recipe.stacks.empty() ? Json(nullptr) : MessageJson(ToProto(c.recipe))}};
    absl::StrAppend(&lines, DumpJson(line, -1));
  }
  return lines;
}

}  // namespace merganser
