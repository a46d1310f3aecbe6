#include "coordinator/optimizer/hypervolume.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <map>
#include <utility>

namespace merganser {
namespace {

// The area below a staircase that falls from left to right.
class Staircase {
 public:
  double area() const { return area_; }

  void Add(double x, double y) {
    auto right = steps_.lower_bound(x);  // the first step that reaches as far as x
    double height = right == steps_.end() ? 0 : right->second;
    if (height >= y) return;
    double edge = x;
    while (true) {
      const bool first = right == steps_.begin();
      const auto left = first ? right : std::prev(right);
      const double from = first ? 0 : left->first;
      area_ += (edge - from) * (y - height);
      if (first || left->second >= y) break;
      edge = from;
      height = left->second;
      right = steps_.erase(left);
    }
    steps_[x] = y;
  }

 private:
  std::map<double, double> steps_;  // where each ends: its height
  double area_ = 0;
};

std::vector<FitnessVector> NotDominated(const std::vector<FitnessVector>& points) {
  std::vector<FitnessVector> front;
  for (const FitnessVector& p : points) {
    const auto covered = [&](const FitnessVector& other) { return other == p || Dominates(other, p); };
    if (std::any_of(front.begin(), front.end(), covered)) continue;
    std::erase_if(front, [&](const FitnessVector& other) { return Dominates(p, other); });
    front.push_back(p);
  }
  return front;
}

// Above the origin; every coordinate is positive.
double Volume(std::vector<FitnessVector> points, int64_t* steps) {
  if (points.empty() || *steps < 0) return 0;
  const auto count = static_cast<int64_t>(points.size());
  const size_t last = points[0].size() - 1;
  std::sort(points.begin(), points.end(), [&](const auto& a, const auto& b) { return a[last] > b[last]; });
  if (last == 0) return points[0][0];
  *steps -= 8 * count;
  if (last == 1) {
    Staircase stairs;
    for (const FitnessVector& p : points) stairs.Add(p[0], p[1]);
    return stairs.area();
  }
  double volume = 0;
  if (last == 2) {  // from the top down: the area so far, as high as to the next point
    Staircase stairs;
    for (size_t i = 0; i < points.size(); ++i) {
      stairs.Add(points[i][0], points[i][1]);
      volume += stairs.area() * (points[i][2] - (i + 1 < points.size() ? points[i + 1][2] : 0));
    }
    return volume;
  }
  // What each point dominates and no point above it in the last objective does. Those above reach beyond it there, so it is
  // its height times a difference of volumes of one dimension less.
  for (size_t i = 0; i < points.size() && *steps >= 0; ++i) {
    double own = 1;
    for (size_t j = 0; j < last; ++j) own *= points[i][j];
    std::vector<FitnessVector> shared;
    for (size_t k = 0; k < i; ++k) {
      FitnessVector q(last);
      for (size_t j = 0; j < last; ++j) q[j] = std::min(points[i][j], points[k][j]);
      shared.push_back(std::move(q));
    }
    *steps -= static_cast<int64_t>(i * (i + 1) * last);
    volume += points[i][last] * (own - Volume(NotDominated(shared), steps));
  }
  return volume;
}

}  // namespace

std::optional<double> HypervolumeWithin(const std::vector<FitnessVector>& points, const FitnessVector& reference,
                                        int64_t* steps) {
  std::vector<FitnessVector> above;
  for (const FitnessVector& p : points) {
    bool counts = p.size() == reference.size();
    for (size_t i = 0; counts && i < p.size(); ++i) counts = p[i] > reference[i];
    if (!counts) continue;
    above.push_back(p);
    for (size_t i = 0; i < p.size(); ++i) above.back()[i] -= reference[i];
  }
  *steps -= static_cast<int64_t>(above.size() * above.size());
  if (*steps < 0) return std::nullopt;
  if (reference.size() > 3) above = NotDominated(above);
  const double volume = Volume(std::move(above), steps);
  return *steps < 0 ? std::nullopt : std::optional<double>(volume);
}

double Hypervolume(const std::vector<FitnessVector>& points, const FitnessVector& reference) {
  int64_t steps = std::numeric_limits<int64_t>::max();
  return HypervolumeWithin(points, reference, &steps).value_or(0);
}

}  // namespace merganser
