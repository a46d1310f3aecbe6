#include "coordinator/optimizer/pareto.h"

#include <algorithm>
#include <limits>
#include <numeric>

namespace merganser {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Two objectives: drops the least contributors of a front until `count` are left.
std::vector<int> DropLeastContributors(const std::vector<FitnessVector>& all, std::vector<int> front, size_t count) {
  std::stable_sort(front.begin(), front.end(), [&](int a, int b) { return all[a][0] > all[b][0]; });
  while (front.size() > count) {
    size_t least = front.size();
    double smallest = kInfinity;
    for (size_t i = 0; i < front.size(); ++i) {
      // Rectangle to the neighbours; an end of the front has none on one side and stays.
      const bool end = i == 0 || i + 1 == front.size();
      const double contribution =
          end ? kInfinity : (all[front[i]][0] - all[front[i + 1]][0]) * (all[front[i]][1] - all[front[i - 1]][1]);
      if (contribution < smallest || (least == front.size() && i + 1 == front.size())) {
        smallest = contribution;
        least = i;
      }
    }
    front.erase(front.begin() + static_cast<std::ptrdiff_t>(least));
  }
  return front;
}

}  // namespace

bool Dominates(const FitnessVector& a, const FitnessVector& b) {
  if (a.empty() || b.empty()) return b.empty() && !a.empty();
  bool better = false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i] < b[i]) return false;
    better |= a[i] > b[i];
  }
  return better;
}

std::vector<int> DominationRanks(const std::vector<FitnessVector>& all) {
  const int n = static_cast<int>(all.size());
  std::vector<std::vector<int>> dominated(n);
  std::vector<int> dominators(n, 0), ranks(n, 0), front;
  for (int i = 0; i < n; ++i) {
    for (int j = i + 1; j < n; ++j) {
      if (Dominates(all[i], all[j])) {
        dominated[i].push_back(j);
        ++dominators[j];
      } else if (Dominates(all[j], all[i])) {
        dominated[j].push_back(i);
        ++dominators[i];
      }
    }
  }
  for (int i = 0; i < n; ++i) {
    if (dominators[i] == 0) front.push_back(i);
  }
  for (int rank = 0; !front.empty(); ++rank) {
    std::vector<int> next;
    for (const int i : front) {
      ranks[i] = rank;
      for (const int j : dominated[i]) {
        if (--dominators[j] == 0) next.push_back(j);
      }
    }
    front = std::move(next);
  }
  return ranks;
}

std::vector<double> CrowdingDistances(const std::vector<FitnessVector>& all, absl::Span<const int> front) {
  std::vector<double> distances(front.size(), 0.0);
  if (front.empty() || all[front[0]].empty()) return distances;
  // Copies of one point crowd each other out entirely.
  std::vector<size_t> distinct;
  for (size_t i = 0; i < front.size(); ++i) {
    const bool repeated =
        std::any_of(distinct.begin(), distinct.end(), [&](size_t j) { return all[front[j]] == all[front[i]]; });
    if (!repeated) distinct.push_back(i);
  }
  for (size_t objective = 0; objective < all[front[0]].size(); ++objective) {
    const auto value = [&](size_t i) { return all[front[i]][objective]; };
    std::vector<size_t> order = distinct;
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return value(a) < value(b); });
    distances[order.front()] = distances[order.back()] = kInfinity;
    const double range = value(order.back()) - value(order.front());
    if (!(range > 0)) continue;
    for (size_t k = 1; k + 1 < order.size(); ++k) distances[order[k]] += (value(order[k + 1]) - value(order[k - 1])) / range;
  }
  return distances;
}

std::vector<int> SelectBest(const std::vector<FitnessVector>& all, int count, bool by_hypervolume) {
  const std::vector<int> ranks = DominationRanks(all);
  std::vector<int> selected;
  for (int rank = 0; static_cast<int>(selected.size()) < std::min<int>(count, static_cast<int>(all.size())); ++rank) {
    std::vector<int> front;
    for (size_t i = 0; i < all.size(); ++i) {
      if (ranks[i] == rank) front.push_back(static_cast<int>(i));
    }
    const size_t places = static_cast<size_t>(count) - selected.size();
    if (by_hypervolume && front.size() > places && all[front[0]].size() == 2) {
      front = DropLeastContributors(all, front, places);
    } else {
      const std::vector<double> distances = CrowdingDistances(all, front);
      std::vector<size_t> order(front.size());
      std::iota(order.begin(), order.end(), 0);
      std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return distances[a] > distances[b]; });
      std::vector<int> sorted;
      for (const size_t i : order) sorted.push_back(front[i]);
      front = std::move(sorted);
      if (front.size() > places) front.resize(places);
    }
    selected.insert(selected.end(), front.begin(), front.end());
  }
  return selected;
}

}  // namespace merganser
