// The description of the vector that an optimizer searches, gene by gene. The search space makes it.
#ifndef MERGANSER_COORDINATOR_OPTIMIZER_GENOME_H_
#define MERGANSER_COORDINATOR_OPTIMIZER_GENOME_H_

#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/status/status.h"

namespace merganser {

// One gene. Its value g is in [0, 1] whatever its kind; a discrete gene stands for the level
// min(levels - 1, floor(g * levels)).
struct Gene {
  enum class Kind {
    kContinuous,
    kInteger,      // levels in order: near levels are alike
    kCategorical,  // levels without order
  };
  static constexpr int kLevelsMax = 10000;
  static constexpr double kScaleMin = 1e-6;
  static constexpr double kScaleMax = 1e6;

  Kind kind = Kind::kContinuous;
  int levels = 0;      // discrete: in [2, kLevelsMax]
  double start = 0.5;  // first mean, in [0, 1]
  double scale = 1;    // first standard deviation as a multiple of the optimizer's sigma0
  bool operator==(const Gene&) const = default;

  bool discrete() const { return kind != Kind::kContinuous; }
  // REQUIRES: discrete(), g in [0, 1].
  int LevelOf(double g) const { return std::min(levels - 1, static_cast<int>(std::floor(g * levels))); }
  // The middle of the level's range. REQUIRES: discrete(), level in [0, levels).
  double ValueOf(int level) const { return (level + 0.5) / levels; }
};

// A copyable value.
struct GenomeSpec {
  std::vector<Gene> genes;
  bool operator==(const GenomeSpec&) const = default;

  static GenomeSpec Continuous(int dimension) { return {std::vector<Gene>(static_cast<size_t>(std::max(0, dimension)))}; }
  int dimension() const { return static_cast<int>(genes.size()); }
  int discrete_count() const {
    return static_cast<int>(std::count_if(genes.begin(), genes.end(), [](const Gene& g) { return g.discrete(); }));
  }
  // InvalidArgument for a gene out of its ranges: "gene 3: start 1.5 is not in [0, 1]".
  absl::Status Validate() const;
};

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_OPTIMIZER_GENOME_H_
