#include "common/draw/charts.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/draw/html.h"

namespace merganser {
namespace {

// Of a chart, in SVG units.
constexpr double kWidth = 900, kHeight = 340, kLeft = 56, kRight = 120, kTop = 14, kBottom = 36;
constexpr double kLabelHeight = 12;

// Ends at round numbers.
struct Axis {
  double low = std::numeric_limits<double>::infinity(), high = -std::numeric_limits<double>::infinity();
  double tick = 1;

  void Include(double x) {
    low = std::min(low, x);
    high = std::max(high, x);
  }
  // The distance between grid lines: 1, 2 or 5 times a power of ten, about four of them.
  void Round() {
    const double rough = std::max((high - low) / 4, 1e-3);
    const double power = std::pow(10, std::floor(std::log10(rough)));
    tick = 10 * power;
    for (const double factor : {5.0, 2.0, 1.0}) {
      if (factor * power >= rough * 0.999) tick = factor * power;
    }
    const double first = std::floor(low / tick), last = std::max(first + 1, std::ceil(high / tick));
    low = first * tick;
    high = last * tick;
  }
  int ticks() const { return static_cast<int>(std::lround((high - low) / tick)); }
  double At(int i) const { return low + i * tick; }
  double Share(double x) const { return high > low ? (x - low) / (high - low) : 0.5; }
};

double X(double share) { return kLeft + (kWidth - kLeft - kRight) * share; }
double Y(double share) { return kTop + (kHeight - kTop - kBottom) * (1 - share); }

std::string Begin(const char* label) {
  return absl::StrFormat("<svg class=\"picture\" viewBox=\"0 0 %.0f %.0f\" role=\"img\" aria-label=\"%s\">\n", kWidth,
                         kHeight, label);
}

void GridY(const Axis& axis, std::string* svg) {
  for (int i = 0; i <= axis.ticks(); ++i) {
    const double y = Y(axis.Share(axis.At(i)));
    absl::StrAppendFormat(svg,
                          "<line class=\"axis\" x1=\"%.0f\" x2=\"%.0f\" y1=\"%.1f\" y2=\"%.1f\"/>"
                          "<text x=\"%.0f\" y=\"%.1f\" text-anchor=\"end\">%.4g</text>\n",
                          X(0), X(1), y, y, kLeft - 6, y + 4, axis.At(i));
  }
}

std::string Polyline(const char* style, const std::vector<std::pair<double, double>>& points) {
  std::string text = absl::StrCat("<polyline class=\"", style, "\" points=\"");
  for (const auto& [x, y] : points) absl::StrAppendFormat(&text, "%.1f,%.1f ", x, y);
  return absl::StrCat(text, "\"/>\n");
}

void Caption(const std::string& text, std::string* svg) {
  absl::StrAppendFormat(svg, "<text x=\"%.0f\" y=\"%.0f\" text-anchor=\"middle\">%s</text>\n", X(0.5), kHeight - 4, text);
}

bool Has(const std::vector<double>& fitness, size_t objective) {
  return fitness.size() > objective && std::isfinite(fitness[objective]);
}

bool Covers(const std::vector<double>& a, const std::vector<double>& b) {
  for (size_t i = 0; i < a.size() && i < b.size(); ++i) {
    if (!(a[i] >= b[i])) return false;
  }
  return true;
}

}  // namespace

std::string FitnessSvg(const std::vector<ChartPoint>& points, const std::vector<ChartBaseline>& baselines,
                       size_t objective) {
  std::map<int64_t, std::vector<const ChartPoint*>> generations;
  Axis y;
  for (const ChartPoint& point : points) {
    if (!Has(point.fitness, objective)) continue;
    generations[point.generation].push_back(&point);
    y.Include(point.fitness[objective]);
  }
  if (generations.empty()) return "";
  std::vector<const ChartBaseline*> lines;
  for (const ChartBaseline& baseline : baselines) {
    if (!Has(baseline.fitness, objective)) continue;
    lines.push_back(&baseline);
    y.Include(baseline.fitness[objective]);
  }
  y.Round();
  const int64_t count = generations.rbegin()->first + 1;
  const auto x_of = [&](int64_t generation) {
    return X(count > 1 ? static_cast<double>(generation) / static_cast<double>(count - 1) : 0.5);
  };

  std::string svg = Begin("fitness per generation");
  GridY(y, &svg);
  const int64_t step = std::max<int64_t>(1, (count + 9) / 10);
  for (int64_t g = 0; g < count; g += step) {
    absl::StrAppendFormat(&svg, "<text x=\"%.1f\" y=\"%.0f\" text-anchor=\"middle\">%d</text>\n", x_of(g),
                          kHeight - kBottom + 18, g + 1);
  }
  Caption("generation", &svg);
  std::sort(lines.begin(), lines.end(), [&](auto* a, auto* b) { return a->fitness[objective] > b->fitness[objective]; });
  // Labels of near lines go below each other, as long as there is room below.
  std::vector<double> label_y;
  for (const ChartBaseline* line : lines) {
    const double at = Y(y.Share(line->fitness[objective])) + 4;
    label_y.push_back(label_y.empty() ? at : std::max(at, label_y.back() + kLabelHeight));
  }
  double lowest = Y(0) + 4;
  for (auto label = label_y.rbegin(); label != label_y.rend(); ++label, lowest -= kLabelHeight) {
    *label = std::min(*label, lowest);
    lowest = *label;
  }
  for (size_t i = 0; i < lines.size(); ++i) {
    const ChartBaseline* line = lines[i];
    const double at = Y(y.Share(line->fitness[objective]));
    absl::StrAppendFormat(&svg,
                          "<line class=\"baseline\" x1=\"%.0f\" x2=\"%.0f\" y1=\"%.1f\" y2=\"%.1f\"/>"
                          "<text x=\"%.0f\" y=\"%.1f\">%s %.3f</text>\n",
                          X(0), X(1), at, at, X(1) + 6, label_y[i], EscapeHtml(line->label), line->fitness[objective]);
  }
  std::vector<std::pair<double, double>> best_line, mean_line;
  double best = -std::numeric_limits<double>::infinity();
  for (const auto& [g, members] : generations) {
    double sum = 0;
    for (const ChartPoint* point : members) {
      const double value = point->fitness[objective];
      sum += value;
      best = std::max(best, value);
      absl::StrAppendFormat(&svg,
                            "<circle class=\"point\" cx=\"%.1f\" cy=\"%.1f\" r=\"3\">"
                            "<title>candidate %d: %.4f</title></circle>\n",
                            x_of(g), Y(y.Share(value)), point->number, value);
    }
    best_line.emplace_back(x_of(g), Y(y.Share(best)));
    mean_line.emplace_back(x_of(g), Y(y.Share(sum / static_cast<double>(members.size()))));
  }
  return absl::StrCat(svg, Polyline("mean", mean_line), Polyline("best", best_line), "</svg>\n");
}

std::string ParetoSvg(const std::vector<ChartPoint>& points, const std::vector<ChartBaseline>& baselines,
                      const std::vector<std::string>& objectives) {
  Axis x, y;
  std::vector<const ChartPoint*> drawn, front;
  for (const ChartPoint& point : points) {
    if (!Has(point.fitness, 0) || !Has(point.fitness, 1)) continue;
    drawn.push_back(&point);
    x.Include(point.fitness[0]);
    y.Include(point.fitness[1]);
    if (std::any_of(front.begin(), front.end(), [&](auto* f) { return Covers(f->fitness, point.fitness); })) continue;
    std::erase_if(front, [&](auto* f) { return Covers(point.fitness, f->fitness); });
    front.push_back(&point);
  }
  if (drawn.empty()) return "";
  for (const ChartBaseline& baseline : baselines) {
    if (!Has(baseline.fitness, 0) || !Has(baseline.fitness, 1)) continue;
    x.Include(baseline.fitness[0]);
    y.Include(baseline.fitness[1]);
  }
  x.Round();
  y.Round();
  const auto place = [&](const std::vector<double>& fitness) {
    return std::pair(X(x.Share(fitness[0])), Y(y.Share(fitness[1])));
  };
  std::string svg = Begin("Pareto front of the first two objectives");
  GridY(y, &svg);
  for (int i = 0; i <= x.ticks(); ++i) {
    absl::StrAppendFormat(&svg, "<text x=\"%.1f\" y=\"%.0f\" text-anchor=\"middle\">%.4g</text>\n", X(x.Share(x.At(i))),
                          kHeight - kBottom + 18, x.At(i));
  }
  if (objectives.size() > 1) {
    Caption(absl::StrCat(EscapeHtml(objectives[0]), " (right is better), up: ", EscapeHtml(objectives[1])), &svg);
  }
  const auto mark = [&](const char* style, double radius, const ChartPoint& point) {
    const auto [px, py] = place(point.fitness);
    absl::StrAppendFormat(&svg,
                          "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\">"
                          "<title>candidate %d: %.4f, %.4f</title></circle>\n",
                          style, px, py, radius, point.number, point.fitness[0], point.fitness[1]);
  };
  std::sort(front.begin(), front.end(), [](auto* a, auto* b) { return a->fitness[0] < b->fitness[0]; });
  if (!objectives.empty() && front.front()->fitness.size() == 2) {  // with more objectives the front is no line here
    // Steps: between two of the front lies nothing that was found.
    std::vector<std::pair<double, double>> steps;
    for (const ChartPoint* point : front) {
      const auto [px, py] = place(point->fitness);
      steps.emplace_back(steps.empty() ? X(0) : steps.back().first, py);
      steps.emplace_back(px, py);
    }
    steps.emplace_back(steps.back().first, Y(0));
    absl::StrAppend(&svg, Polyline("front-line", steps));
    steps.emplace_back(X(0), Y(0));
    absl::StrAppend(&svg, Polyline("front-area", steps));
  }
  for (const ChartPoint* point : drawn) mark("point", 3, *point);
  for (const ChartBaseline& baseline : baselines) {
    if (!Has(baseline.fitness, 0) || !Has(baseline.fitness, 1)) continue;
    const auto [px, py] = place(baseline.fitness);
    absl::StrAppendFormat(&svg,
                          "<circle class=\"baseline-point\" cx=\"%.1f\" cy=\"%.1f\" r=\"5\"><title>%s: %.4f, %.4f</title>"
                          "</circle><text x=\"%.1f\" y=\"%.1f\">%s</text>\n",
                          px, py, EscapeHtml(baseline.label), baseline.fitness[0], baseline.fitness[1], px + 9, py + 4,
                          EscapeHtml(baseline.label));
  }
  for (const ChartPoint* point : front) mark("front", 4.5, *point);
  return absl::StrCat(svg, "</svg>\n");
}

}  // namespace merganser
