// Which models complement each other, from what each gets right by itself: no merge is made.
#ifndef MERGANSER_COORDINATOR_REPLAY_POOL_SELECTION_H_
#define MERGANSER_COORDINATOR_REPLAY_POOL_SELECTION_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace merganser {

// One model's own outcomes on the samples of a benchmark (or of several, one after the other).
struct PoolModel {
  std::string name;
  std::vector<bool> correct;  // [samples], the same samples in the same order for every model
};

struct PoolChoice {
  std::vector<int> models;  // indices, ascending
  double coverage = 0;      // share of the samples that at least one of them gets right
  double best_alone = 0;    // share that the best of them gets right by itself
  // Share that only this member of `models` gets right, in their order: what the pool loses without
  // it.
  std::vector<double> only;
  // 95 % interval of `coverage` minus that of the best choice of one model fewer (of the best single
  // model for pairs), over resampled samples (percentile bootstrap, 1000 draws, always the same).
  double gain = 0, gain_low = 0, gain_high = 0;
};

struct PoolSuggestion {
  // choices[k]: the best choices of k + 2 models by coverage, best first; ties to the higher sum of
  // own scores, then to the earlier models.
  std::vector<std::vector<PoolChoice>> choices;
  // The largest pool whose last member's gain is above 0 with 95 % confidence; 2 if even the best
  // pair's is not.
  int suggested_size = 2;
};

inline constexpr int kPoolModelsMax = 64;
inline constexpr int kPoolSizeMax = 4;

// Coverage is what a merge could reach if it lost nothing of its sources: the bound that makes a pool
// worth a search. The best `keep` choices of each size from 2 to `size_max` (at most the number of
// models). InvalidArgument, naming the model: fewer than two models or more than kPoolModelsMax, no
// samples, another number of samples than the first model; size_max not in [2, kPoolSizeMax];
// keep < 1.
absl::StatusOr<PoolSuggestion> SuggestPool(const std::vector<PoolModel>& models, int size_max, int keep);

}  // namespace merganser

#endif  // MERGANSER_COORDINATOR_REPLAY_POOL_SELECTION_H_
