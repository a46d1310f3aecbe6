#include "coordinator/optimizer/box_transform.h"

#include <algorithm>
#include <cmath>

namespace merganser {

double PointToGene(double point) {
  if (point >= kBoxMargin && point <= 1 - kBoxMargin) return point;
  constexpr double kSpan = 1 + 2 * kBoxMargin;
  double t = std::fmod(point + kBoxMargin, 2 * kSpan);  // distance from the lower mirror
  if (t < 0) t += 2 * kSpan;
  if (t > kSpan) t = 2 * kSpan - t;
  double gene = t - kBoxMargin;
  if (t < 2 * kBoxMargin) {
    gene = t * t / (4 * kBoxMargin);
  } else if (t > kSpan - 2 * kBoxMargin) {
    gene = 1 - (kSpan - t) * (kSpan - t) / (4 * kBoxMargin);
  }
  return std::clamp(gene, 0.0, 1.0);
}

double GeneToPoint(double gene) {
  if (gene < kBoxMargin) return 2 * std::sqrt(kBoxMargin * gene) - kBoxMargin;
  if (gene > 1 - kBoxMargin) return 1 + kBoxMargin - 2 * std::sqrt(kBoxMargin * (1 - gene));
  return gene;
}

}  // namespace merganser
