// How much each change of a source matters to arcee_fusion. Scores do not depend on the genome.
#ifndef MERGANSER_WORKER_MERGE_FUSION_SCORES_H_
#define MERGANSER_WORKER_MERGE_FUSION_SCORES_H_

#include <vector>

#include "worker/merge/float_blocks.h"
#include "worker/merge/products.h"

namespace merganser {

// Score of element i: |source - base| * divergence[row of i], rows along the last dimension (of a tensor of one dimension:
// all of it).
struct FusionScores {
  VectorShape rows;
  std::vector<float> divergence;
  float threshold = 0;  // scores from here on are outliers

  // divergence[row] for rows [first, first + count). Calls for different rows may run at once.
  static void Divergence(const FloatTensor& base, const FloatTensor& source, const VectorShape& rows, int64_t first,
                         int64_t count, float* divergence);
  // Sets `threshold` from the whole tensor. REQUIRES: `divergence` is complete.
  void FindThreshold(const FloatTensor& base, const FloatTensor& source);
};

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_FUSION_SCORES_H_
