// Charts of a search as SVG: no script, no network, a title for every mark, colours from pictures.css. Used by the report
// and the coordinator's dashboard.
#ifndef MERGANSER_COMMON_DRAW_CHARTS_H_
#define MERGANSER_COMMON_DRAW_CHARTS_H_

#include <cstdint>
#include <string>
#include <vector>

namespace merganser {

// A candidate in a chart.
struct ChartPoint {
  int64_t number = 0;
  int64_t generation = 0;
  std::vector<double> fitness;  // one number per objective, all finite
};

// A source or the average.
struct ChartBaseline {
  std::string label;
  std::vector<double> fitness;
};

// Fitness per generation of one objective: a point per candidate, lines for the best so far and each generation's mean, a
// dashed line per baseline. "" without points. Points and baselines that lack the objective are left out.
std::string FitnessSvg(const std::vector<ChartPoint>& points, const std::vector<ChartBaseline>& baselines,
                       size_t objective = 0);

// The first two objectives against each other: candidates, the front (those that none beats in every objective; found among
// `points`) with, of two objectives, its staircase and what lies below it shaded, baselines as rings. "" without points of
// two objectives.
std::string ParetoSvg(const std::vector<ChartPoint>& points, const std::vector<ChartBaseline>& baselines,
                      const std::vector<std::string>& objectives);

}  // namespace merganser

#endif  // MERGANSER_COMMON_DRAW_CHARTS_H_
