#include "client/report_html.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "client/output.h"
#include "client/run_files.h"
#include "common/base/version.h"

namespace merganser {
namespace {

constexpr char kStyle[] = R"css(
:root { color-scheme: light dark; --fg: #1c2430; --dim: #667085; --line: #d5dae1; --bg: #ffffff; --accent: #1565c0;
        --mean: #8a6d00; --base: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --fg: #e4e8ee; --dim: #98a2b3; --line: #39424f; --bg: #12161c;
        --accent: #6ab0ff; --mean: #e0b84c; --base: #ff8a80; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--fg); background: var(--bg); max-width: 960px;
       margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; } p.sub { color: var(--dim); margin: 0; }
table { border-collapse: collapse; } .scroll { overflow-x: auto; }
th, td { padding: .25rem .7rem; text-align: left; border-bottom: 1px solid var(--line); }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; } tr.winner td { font-weight: 600; }
svg { width: 100%; height: auto; } svg text { fill: var(--dim); font: 11px system-ui, sans-serif; }
.axis { stroke: var(--line); } .point { fill: var(--accent); opacity: .35; }
.best { stroke: var(--accent); fill: none; stroke-width: 2; } .mean { stroke: var(--mean); fill: none; stroke-width: 1.5; }
.baseline { stroke: var(--base); stroke-dasharray: 4 4; opacity: .7; }
)css";

// Of the chart, in SVG units.
constexpr double kWidth = 900, kHeight = 340, kLeft = 56, kRight = 120, kTop = 14, kBottom = 36;

struct Range {
  double low = 0, high = 1;
  double Share(double x) const { return high > low ? (x - low) / (high - low) : 0.5; }
};

struct Chart {
  int64_t generations = 0;
  Range y;
  double X(double generation) const {
    const double span = std::max<double>(1, static_cast<double>(generations - 1));
    return kLeft + (kWidth - kLeft - kRight) * (generations > 1 ? generation / span : 0.5);
  }
  double Y(double value) const { return kTop + (kHeight - kTop - kBottom) * (1 - y.Share(value)); }
};

bool HasFitness(const Candidate& c) {
  return c.state == CandidateState::kSucceeded && !c.fitness.empty() && std::isfinite(c.fitness[0]);
}

bool IsBaseline(const Candidate& c) { return c.kind == CandidateKind::kSource || c.kind == CandidateKind::kAverage; }

std::string Polyline(absl::string_view style, const std::vector<std::pair<double, double>>& points) {
  std::string text = absl::StrCat("<polyline class=\"", style, "\" points=\"");
  for (const auto& [x, y] : points) absl::StrAppendFormat(&text, "%.1f,%.1f ", x, y);
  return absl::StrCat(text, "\"/>\n");
}

// The distance between grid lines: 1, 2 or 5 times a power of ten, about four of them.
double TickStep(const Range& range) {
  const double rough = std::max((range.high - range.low) / 4, 1e-3);
  const double power = std::pow(10, std::floor(std::log10(rough)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= rough * 0.999) return factor * power;
  }
  return 10 * power;
}

// White to blue by the value's place in its range; the text stays readable on both.
std::string HeatCell(double value, const Range& range) {
  const double share = std::clamp(range.Share(value), 0.0, 1.0);
  const int lightness = static_cast<int>(std::lround(96 - 56 * share));
  return absl::StrFormat("<td class=\"n\" style=\"background:hsl(212 70%% %d%%);color:%s\">%.3f</td>", lightness,
                         lightness < 62 ? "#fff" : "#1c2430", value);
}

std::string RecipeTable(const JobSummary& job, const Recipe& recipe) {
  if (recipe.stacks.empty() || recipe.stacks[0].settings.empty()) return "";
  const Stack& stack = recipe.stacks[0];
  std::set<std::string> names;
  std::map<std::string, Range> ranges;
  for (const GroupSettings& g : stack.settings) {
    for (const auto& parameters : g.source_parameters) {
      for (const auto& [name, value] : parameters) {
        const auto [it, fresh] = ranges.insert({name, {value, value}});
        if (!fresh) it->second = {std::min(it->second.low, value), std::max(it->second.high, value)};
        names.insert(name);
      }
    }
  }
  for (const auto& [name, bounds] : job.spec.parameter.bounds) ranges[name] = {bounds.low, bounds.high};
  std::string html = "<div class=\"scroll\"><table><tr><th>group</th>";
  for (const std::string& source : stack.sources) {
    for (const std::string& name : names) {
      absl::StrAppend(&html, "<th class=\"n\">", EscapeHtml(name), " of ", EscapeHtml(source), "</th>");
    }
  }
  absl::StrAppend(&html, "</tr>\n");
  for (const GroupSettings& g : stack.settings) {
    absl::StrAppend(&html, "<tr><td>", EscapeHtml(g.group.name), "</td>");
    for (size_t s = 0; s < stack.sources.size(); ++s) {
      for (const std::string& name : names) {
        const bool set = s < g.source_parameters.size() && g.source_parameters[s].count(name) != 0;
        absl::StrAppend(&html,
                        set ? HeatCell(g.source_parameters[s].at(name), ranges[name]) : "<td class=\"n\">default</td>");
      }
    }
    absl::StrAppend(&html, "</tr>\n");
  }
  return absl::StrCat(html, "</table></div>\n");
}

std::string ScoresHtml(const JobSummary& job, const ScoreTable& scores) {
  std::string html;
  for (const auto& [benchmark, models] : scores) {
    absl::StrAppend(&html, "<h3>", EscapeHtml(benchmark),
                    "</h3><div class=\"scroll\"><table><tr><th>model</th><th>metric</th>"
                    "<th class=\"n\">value</th><th class=\"n\">95 % interval</th><th "
                    "class=\"n\">samples</th></tr>\n");
    for (const std::string& model : ModelsInOrder(job, models)) {
      for (const auto& [metric, s] : models.at(model)) {
        absl::StrAppend(&html, model == "winner" ? "<tr class=\"winner\">" : "<tr>", "<td>", EscapeHtml(model), "</td><td>",
                        EscapeHtml(metric), "</td><td class=\"n\">", FormatPercent(s.value), "</td><td class=\"n\">",
                        FormatPercent(s.low), " to ", FormatPercent(s.high), "</td><td class=\"n\">", FormatCount(s.n),
                        "</td></tr>\n");
      }
    }
    absl::StrAppend(&html, "</table></div>\n");
  }
  return html;
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
  std::string html = "<h2>Failed candidates</h2><table><tr><th class=\"n\">count</th><th>reason</th></tr>\n";
  for (const auto& [count, reason] : order) {
    absl::StrAppend(&html, "<tr><td class=\"n\">", -count, "</td><td>", EscapeHtml(reason), "</td></tr>\n");
  }
  return absl::StrCat(html, "</table>\n");
}

}  // namespace

std::string EscapeHtml(absl::string_view text) {
  return absl::StrReplaceAll(text, {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}, {"\"", "&quot;"}, {"'", "&#39;"}});
}

std::string FitnessSvg(const JobSummary& job, const std::vector<Candidate>& candidates) {
  std::map<int64_t, std::vector<const Candidate*>> generations;
  Chart chart;
  bool first = true;
  for (const Candidate& c : candidates) {
    if (!HasFitness(c) || (c.kind != CandidateKind::kSearch && !IsBaseline(c))) continue;
    if (c.kind == CandidateKind::kSearch) {
      generations[c.generation].push_back(&c);
      chart.generations = std::max(chart.generations, c.generation + 1);
    }
    chart.y = first ? Range{c.fitness[0], c.fitness[0]}
                    : Range{std::min(chart.y.low, c.fitness[0]), std::max(chart.y.high, c.fitness[0])};
    first = false;
  }
  if (generations.empty()) return "";
  const double tick = TickStep(chart.y);
  const auto first_tick = static_cast<int64_t>(std::floor(chart.y.low / tick));
  const int64_t last_tick = std::max(first_tick + 1, static_cast<int64_t>(std::ceil(chart.y.high / tick)));
  chart.y = {static_cast<double>(first_tick) * tick, static_cast<double>(last_tick) * tick};

  std::string svg = absl::StrFormat("<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\" aria-label=\"fitness per generation\">\n",
                                    kWidth, kHeight);
  for (int64_t i = first_tick; i <= last_tick; ++i) {
    const double value = static_cast<double>(i) * tick;
    absl::StrAppendFormat(&svg,
                          "<line class=\"axis\" x1=\"%.0f\" x2=\"%.0f\" y1=\"%.1f\" y2=\"%.1f\"/>"
                          "<text x=\"%.0f\" y=\"%.1f\" text-anchor=\"end\">%.4g</text>\n",
                          kLeft, kWidth - kRight, chart.Y(value), chart.Y(value), kLeft - 6, chart.Y(value) + 4, value);
  }
  const int64_t step = std::max<int64_t>(1, (chart.generations + 9) / 10);
  for (int64_t g = 0; g < chart.generations; g += step) {
    absl::StrAppendFormat(&svg, "<text x=\"%.1f\" y=\"%.0f\" text-anchor=\"middle\">%d</text>\n",
                          chart.X(static_cast<double>(g)), kHeight - kBottom + 18, g + 1);
  }
  absl::StrAppendFormat(&svg, "<text x=\"%.0f\" y=\"%.0f\" text-anchor=\"middle\">generation</text>\n",
                        kLeft + (kWidth - kLeft - kRight) / 2, kHeight - 4);
  double label_y = -100;
  std::vector<const Candidate*> baselines;
  for (const Candidate& c : candidates) {
    if (IsBaseline(c) && HasFitness(c)) baselines.push_back(&c);
  }
  std::sort(baselines.begin(), baselines.end(), [](auto* a, auto* b) { return a->fitness[0] > b->fitness[0]; });
  for (const Candidate* c : baselines) {
    const double y = chart.Y(c->fitness[0]);
    label_y = std::max(y + 4, label_y + 12);  // labels of near lines go below each other
    absl::StrAppendFormat(&svg,
                          "<line class=\"baseline\" x1=\"%.0f\" x2=\"%.0f\" y1=\"%.1f\" y2=\"%.1f\"/>"
                          "<text x=\"%.0f\" y=\"%.1f\">%s %.3f</text>\n",
                          kLeft, kWidth - kRight, y, y, kWidth - kRight + 6, label_y, EscapeHtml(c->label), c->fitness[0]);
  }
  std::vector<std::pair<double, double>> best_line, mean_line;
  double best = -INFINITY;
  for (const auto& [g, members] : generations) {
    const double x = chart.X(static_cast<double>(g));
    double sum = 0;
    for (const Candidate* c : members) {
      sum += c->fitness[0];
      best = std::max(best, c->fitness[0]);
      absl::StrAppendFormat(&svg,
                            "<circle class=\"point\" cx=\"%.1f\" cy=\"%.1f\" "
                            "r=\"3\"><title>candidate %d: %.4f</title></circle>\n",
                            x, chart.Y(c->fitness[0]), c->number, c->fitness[0]);
    }
    best_line.emplace_back(x, chart.Y(best));
    mean_line.emplace_back(x, chart.Y(sum / static_cast<double>(members.size())));
  }
  absl::StrAppend(&svg, Polyline("mean", mean_line), Polyline("best", best_line), "</svg>\n");
  absl::StrAppend(&svg,
                  "<p class=\"sub\">Points: candidates. Blue: best so far. Yellow: mean of the generation. "
                  "Dashed: "
                  "baselines. ",
                  job.spec.objectives.empty() ? "" : EscapeHtml(ObjectiveName(job.spec.objectives[0])),
                  ", on the samples of the search.</p>\n");
  return svg;
}

std::string ReportHtml(const JobSummary& job, const std::vector<Candidate>& candidates, const ScoreTable& scores,
                       bool held_out) {
  const Candidate* best = BestCandidate(job, candidates);
  std::string html = absl::StrCat(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width\"><title>",
      EscapeHtml(job.spec.name), " · merganser</title><style>", kStyle, "</style></head><body>\n<h1>",
      EscapeHtml(job.spec.name), "</h1>\n<p class=\"sub\">", EscapeHtml(job.id), " · ",
      EscapeHtml(std::string(ToString(job.phase))), " · ", EscapeHtml(job.spec.parameter.used() ? job.spec.parameter.method : "data flow"), " · ",
      FormatCount(job.search_finished), " candidates of ", FormatCount(job.population), " per generation · started ",
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
  if (!scores.empty()) {
    absl::StrAppend(&html, "<h2>", held_out ? "Held-out scores" : "Scores on the samples of the search", "</h2>\n",
                    ScoresHtml(job, scores));
  }
  const std::string svg = FitnessSvg(job, candidates);
  if (!svg.empty()) absl::StrAppend(&html, "<h2>Fitness per generation</h2>\n", svg);
  if (best != nullptr) {
    const std::string path = PathText(best->recipe);
    absl::StrAppend(&html, "<h2>Best recipe</h2>\n", path.empty() ? "" : absl::StrCat("<p>Path: ", EscapeHtml(path), ".</p>\n"),
                    RecipeTable(job, best->recipe));
  }
  return absl::StrCat(html, FailuresHtml(candidates), "</body></html>\n");
}

}  // namespace merganser
