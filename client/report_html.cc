#include "client/report_html.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/model_card.h"
#include "client/output.h"
#include "client/run_files.h"
#include "common/base/version.h"
#include "common/codec/job_spec_codec.h"
#include "common/config/yaml_message.h"
#include "common/draw/charts.h"
#include "common/draw/html.h"
#include "common/draw/recipe_picture.h"
#include "coordinator/optimizer/factory.h"

namespace merganser {
namespace {

// More circles than a screen has room for make the file large and the page slow.
constexpr size_t kPointsMax = 8'000;

constexpr char kStyle[] = R"css(
:root { color-scheme: light dark; --fg: #1c2430; --dim: #586174; --line: #d5dae1; --bg: #ffffff; --panel: #f6f8fa;
        --accent: #1565c0; --best: #0b6e4f; --mean: #8a6100; --base: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --fg: #e4e8ee; --dim: #a3adbd; --line: #39424f; --bg: #12161c; --panel: #1a2029;
        --accent: #6ab0ff; --best: #5fd6a7; --mean: #e0b84c; --base: #ff8a80; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--fg); background: var(--bg); max-width: 960px;
       margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; } p.sub { color: var(--dim); margin: 0; }
table { border-collapse: collapse; } .scroll { overflow-x: auto; } caption { text-align: left; color: var(--dim); }
th, td { padding: .25rem .7rem; text-align: left; border-bottom: 1px solid var(--line); } tbody th { font-weight: 400; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
tr.winner td, tr.winner th { font-weight: 600; }
figure { margin: .6rem 0 1.2rem; } figcaption { color: var(--dim); }
summary { cursor: pointer; color: var(--accent); margin: .4rem 0; }
pre { background: var(--panel); border: 1px solid var(--line); border-radius: 6px; padding: .7rem; overflow: auto; max-height: 30rem; }
)css";

bool HasFitness(const Candidate& c) {
  return c.state == CandidateState::kSucceeded && !c.fitness.empty() &&
         std::all_of(c.fitness.begin(), c.fitness.end(), [](double x) { return std::isfinite(x); });
}

struct ChartData {
  std::vector<ChartPoint> points;
  std::vector<ChartBaseline> baselines;
};

// Every candidate, or where there are very many, each stretch's lowest and highest.
ChartData DataOf(const std::vector<Candidate>& candidates) {
  std::vector<const Candidate*> search;
  ChartData data;
  for (const Candidate& c : candidates) {
    if (!HasFitness(c)) continue;
    if (c.kind == CandidateKind::kSearch) search.push_back(&c);
    if (c.kind == CandidateKind::kSource || c.kind == CandidateKind::kAverage)
      data.baselines.push_back({c.label, c.fitness});
  }
  const size_t runs = search.size() > kPointsMax ? kPointsMax / 2 : search.size();
  for (size_t run = 0; run < runs; ++run) {
    const auto begin = search.begin() + static_cast<std::ptrdiff_t>(run * search.size() / runs);
    const auto end = search.begin() + static_cast<std::ptrdiff_t>((run + 1) * search.size() / runs);
    const auto [low, high] = std::minmax_element(begin, end, [](auto* a, auto* b) { return a->fitness[0] < b->fitness[0]; });
    for (auto it = begin; it != end; ++it) {
      if (it == low || it == high) data.points.push_back({(*it)->number, (*it)->generation, (*it)->fitness});
    }
  }
  return data;
}

std::string ScoresHtml(const JobSummary& job, const ScoreTable& scores) {
  std::string html;
  for (const auto& [benchmark, models] : scores) {
    absl::StrAppend(&html, "<div class=\"scroll\"><table><caption>", EscapeHtml(benchmark),
                    "</caption><thead><tr><th scope=\"col\">model</th><th scope=\"col\">metric</th>"
                    "<th scope=\"col\" class=\"n\">value</th><th scope=\"col\" class=\"n\">95 % interval</th>"
                    "<th scope=\"col\" class=\"n\">samples</th></tr></thead><tbody>\n");
    for (const std::string& model : ModelsInOrder(job, models)) {
      for (const auto& [metric, s] : models.at(model)) {
        absl::StrAppend(&html, model == "winner" ? "<tr class=\"winner\">" : "<tr>", "<th scope=\"row\">", EscapeHtml(model),
                        "</th><td>", EscapeHtml(metric), "</td><td class=\"n\">", FormatMetric(metric, s.value),
                        "</td><td class=\"n\">", IntervalText(metric, s), "</td><td class=\"n\">", ItemsText(s),
                        "</td></tr>\n");
      }
    }
    absl::StrAppend(&html, "</tbody></table></div>\n");
  }
  return html;
}

std::string ChartsHtml(const JobSummary& job, const std::vector<Candidate>& candidates,
                       const std::optional<FrontReport>& front) {
  const ChartData data = DataOf(candidates);
  std::vector<std::string> objectives;
  for (const Objective& objective : job.spec.objectives) objectives.push_back(ObjectiveName(objective));
  std::string html;
  for (size_t i = 0; i < objectives.size(); ++i) {
    const std::string svg = FitnessSvg(data.points, data.baselines, i);
    if (svg.empty()) continue;
    absl::StrAppend(&html, "<figure><figcaption>", EscapeHtml(objectives[i]), "</figcaption>", svg, "</figure>\n");
  }
  if (html.empty()) return "";
  html = absl::StrCat("<h2>Fitness per generation</h2>\n", html,
                      "<p class=\"sub\">Points: candidates. Green: best so far. Yellow: mean of the generation. Dashed: the "
                      "sources and their average. On the samples of the search.</p>\n");
  if (const std::string svg = ParetoSvg(data.points, data.baselines, objectives); !svg.empty()) {
    absl::StrAppend(
        &html, "<h2>Pareto front</h2>\n<figure>", svg,
        "</figure>\n<p class=\"sub\">Green: candidates that no other beats in every objective. Rings: the sources and "
        "their average.</p>\n");
  }
  if (front) {
    absl::StrAppend(&html, "<p>Front: ", EscapeHtml(FrontText(job.spec, *front)), ".",
                    front->interval
                        ? " The interval is of these candidates on other samples; that they were chosen on these "
                          "ones is not in it."
                        : "",
                    "</p>\n");
  }
  return html;
}

std::string RecipeHtml(const JobSummary& job, const Candidate& best) {
  const std::string path = PathText(best.recipe);
  std::string html =
      absl::StrCat("<h2>Best recipe</h2>\n", path.empty() ? "" : absl::StrCat("<p>Path: ", EscapeHtml(path), ".</p>\n"),
                   RecipePictures(best.recipe, job.spec.parameter.bounds));
  if (const std::string tables = RecipeTables(best.recipe); !tables.empty()) {
    absl::StrAppend(&html, "<details><summary>The numbers as a table</summary>", tables, "</details>\n");
  }
  return absl::StrCat(html, "<details><summary>Recipe as YAML</summary><pre tabindex=\"0\">",
                      EscapeHtml(RecipeYaml(best.recipe)), "</pre></details>\n");
}

// Where the time of the finished candidates went.
std::string TimeHtml(const JobSummary& job) {
  const PhaseTimings& t = job.timings;
  const std::vector<std::pair<const char*, double>> phases = {
      {"materialize", t.materialize}, {"tokenize", t.tokenize}, {"prefill", t.prefill},
      {"decode", t.decode},           {"score", t.score},       {"record", t.record}};
  double total = 0;
  for (const auto& [phase, seconds] : phases) total += seconds;
  if (total <= 0) return "";
  std::string html =
      "<h2>Time of all candidates</h2>\n<table><thead><tr><th scope=\"col\">phase</th><th scope=\"col\" "
      "class=\"n\">time</th>"
      "<th scope=\"col\" class=\"n\">share</th></tr></thead><tbody>\n";
  for (const auto& [phase, seconds] : phases) {
    if (seconds <= 0) continue;
    absl::StrAppend(&html, "<tr><th scope=\"row\">", phase, "</th><td class=\"n\">", DurationText(absl::Seconds(seconds)),
                    "</td><td class=\"n\">", FormatPercent(seconds / total), "</td></tr>\n");
  }
  return absl::StrCat(html, "</tbody></table>\n");
}

// Reasons of failed candidates, the most frequent first.
std::string FailuresHtml(const std::vector<Candidate>& candidates) {
  std::map<std::string, int64_t> reasons;
  for (const Candidate& c : candidates) {
    if (c.state == CandidateState::kFailed) ++reasons[Shorten(c.message, 200)];
  }
  if (reasons.empty()) return "";
  std::vector<std::pair<int64_t, std::string>> order;
  for (const auto& [reason, count] : reasons) order.emplace_back(-count, reason);
  std::sort(order.begin(), order.end());
  std::string html =
      "<h2>Failed candidates</h2><table><thead><tr><th scope=\"col\" class=\"n\">count</th><th "
      "scope=\"col\">reason</th></tr>"
      "</thead><tbody>\n";
  for (const auto& [count, reason] : order) {
    absl::StrAppend(&html, "<tr><td class=\"n\">", -count, "</td><td>", EscapeHtml(reason), "</td></tr>\n");
  }
  return absl::StrCat(html, "</tbody></table>\n");
}

std::string RepeatHtml(const JobSummary& job) {
  JobSpec spec = job.spec;
  // The fleet's slots may have chosen it, and whoever repeats the job has others.
  if (NumStages(spec) == 1 && job.population > 0 && PopulationFollowsSlots(spec.optimizer)) {
    spec.optimizer.numbers["population"] = job.population;
  }
  return absl::StrCat(
      "<h2>Repeat it</h2>\n<p>With merganser ", kVersion, " and the same checkpoints and data, this job (seed ",
      job.spec.seed,
      ") proposes the same candidates and ends with the same weights. Save it as <code>job.yaml</code>:</p>\n"
      "<pre>merganser run job.yaml</pre>\n<details><summary>The job as YAML</summary><pre tabindex=\"0\">",
      EscapeHtml(WriteYaml(ToProto(spec))), "</pre></details>\n");
}

}  // namespace

std::string ReportHtml(const JobSummary& job, const std::vector<Candidate>& candidates, const ScoreTable& scores,
                       bool held_out, const std::optional<FrontReport>& front) {
  const Candidate* best = BestCandidate(job, candidates);
  std::string html = absl::StrCat(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width, initial-scale=1\"><title>",
      EscapeHtml(job.spec.name), " · merganser</title><style>", kStyle, kPicturesCss, "</style></head><body>\n<h1>",
      EscapeHtml(job.spec.name), "</h1>\n<p class=\"sub\">", EscapeHtml(job.id), " · ", ToString(job.phase), " · ",
      EscapeHtml(job.spec.optimizer.name), " · ", FormatCount(job.search_finished), " candidates",
      job.population > 0 ? absl::StrCat(", ", FormatCount(job.population), " per generation") : "", " · started ",
      TimeText(job.create_time));
  if (job.end_time != absl::InfiniteFuture()) {
    absl::StrAppend(&html, " · took ", DurationText(job.end_time - job.create_time));
  }
  absl::StrAppend(&html, " · merganser ", kVersion, "</p>\n");
  if (!job.message.empty()) absl::StrAppend(&html, "<p>", EscapeHtml(job.message), "</p>\n");
  if (best != nullptr && !best->fitness.empty()) {
    absl::StrAppend(&html, "<p>Best: candidate ", best->number, ", fitness <b>", FormatFitness(best->fitness[0]),
                    "</b>.</p>\n");
  }
  if (const std::string better = BetterBaseline(job, candidates); !better.empty()) {
    absl::StrAppend(&html, "<p>Note: ", EscapeHtml(better), ".</p>\n");
  }
  if (!scores.empty()) {
    absl::StrAppend(&html, "<h2>", held_out ? "Held-out scores" : "Scores on the samples of the search", "</h2>\n",
                    ScoresHtml(job, scores));
  }
  absl::StrAppend(&html, ChartsHtml(job, candidates, front));
  if (best != nullptr) absl::StrAppend(&html, RecipeHtml(job, *best));
  return absl::StrCat(html, TimeHtml(job), FailuresHtml(candidates), RepeatHtml(job), "</body></html>\n");
}

}  // namespace merganser
