// The categorical half of CatCMA with margin: R. Hamano et al., "CatCMA" (GECCO 2024, arXiv 2405.09962)
// and "CatCMA with Margin" (GECCO 2025, arXiv 2504.07884).
#ifndef MERGANSER_COORDINATOR_OPTIMIZER_CATEGORICAL_STATE_H_
#define MERGANSER_COORDINATOR_OPTIMIZER_CATEGORICAL_STATE_H_

#include <Eigen/Core>
#include <vector>

#include "absl/types/span.h"
#include "common/base/rng.h"
#include "coordinator/optimizer/genome.h"
#include "coordinator/optimizer/state_text.h"

namespace merganser {

// Independent probabilities of every level of every gene, learned by natural gradient with an
// adaptive rate (ASNG: Y. Akimoto et al., ICML 2019) and kept off zero by a margin, so that no level
// is ever lost for good. A copyable value. Not thread-safe.
class CategoricalState {
 public:
  // `genes` are discrete. The first probabilities are equal, but for genes of two levels: there the
  // second level has its gene's `start` as probability. `discrete_genes`: all that the search keeps
  // a margin for, >= genes.size().
  CategoricalState(const std::vector<Gene>& genes, int discrete_genes);

  int count() const { return static_cast<int>(probabilities_.size()); }
  const std::vector<Eigen::VectorXd>& probabilities() const { return probabilities_; }

  // A level per gene.
  std::vector<int> Draw(Rng& rng) const;
  // The most probable level of each gene.
  std::vector<int> Mode() const;

  // Learns from the best of a generation: levels[i][gene], best first, with their recombination
  // weights (positive, sum 1).
  void Update(const std::vector<std::vector<int>>& levels, absl::Span<const double> weights);

  void Save(StateWriter& writer) const;
  void Load(StateReader& reader);

 private:
  void KeepMargin();

  double margin_;                               // share of the other levels together
  int parameters_ = 0;                          // sum of levels - 1
  std::vector<Eigen::VectorXd> probabilities_;  // q, [gene][level]
  Eigen::VectorXd signal_;                      // s, [parameters_]
  double signal_weight_ = 0;                    // gamma
  double trust_ = 1;                            // Delta
};

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_OPTIMIZER_CATEGORICAL_STATE_H_
