// What is computed once per job: statistics of the sources that do not depend on the genome.
#ifndef MERGANSER_WORKER_MERGE_SOURCE_FACTS_H_
#define MERGANSER_WORKER_MERGE_SOURCE_FACTS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "worker/merge/fusion_scores.h"
#include "worker/merge/magnitude_index.h"
#include "worker/merge/merge_plan.h"
#include "worker/merge/merge_sources.h"
#include "worker/merge/products.h"
#include "worker/merge/row_ranks.h"
#include "worker/merge/thread_pool.h"

namespace merganser {

// A run of elements of one tensor, the unit of parallel work. Sums over runs are part of results: changing their size
// changes last bits.
struct TensorRun {
  int tensor;
  int64_t first;
  int64_t count;
};
inline constexpr int64_t kRunElements = 65536;
// All runs of the layout's tensors, in order.
std::vector<TensorRun> RunsOf(const ArenaLayout& layout);

// Of one tensor of one merge: how many elements of each task vector no other has (`own`), and how many some other has too.
struct OverlapCounts {
  double epsilon = -1;
  std::vector<int64_t> own, shared;  // per source
};

// Filled by Prepare as plans need it, and kept. Not thread-safe; between calls of Prepare all look-ups may run at once.
class SourceFacts {
 public:
  // `pool` must outlive it. `bytes_max` bounds what is kept for whole magnitude orders and for row ranks. `one_shot`: for
  // one candidate only, so nothing is kept that costs it more than it saves (magnitudes, l1, ranks); CandidateTerms then
  // looks at the values itself.
  SourceFacts(std::shared_ptr<const MergeSources> sources, ThreadPool& pool, int64_t bytes_max, bool one_shot);

  void Prepare(const MergePlan& plan);

  bool one_shot() const { return one_shot_; }
  // Of one task vector, model - base. REQUIRES: a plan that needs it has been prepared; not one_shot() for magnitudes and
  // l1.
  const MagnitudeIndex& magnitudes(int base, int model, int tensor) const { return Of(base, model).magnitudes[tensor]; }
  double l1(int base, int model, int tensor) const { return Of(base, model).l1[tensor]; }
  const RowRanks& ranks(int base, int model, int tensor) const { return Of(base, model).ranks[tensor]; }
  const FusionScores& fusion(int base, int model, int tensor) const { return Of(base, model).fusion[tensor]; }

  // Of a plan's base and models together.
  const MagnitudeIndex& variances(const MergePlan& plan, int tensor) const { return Of(plan).variances[tensor]; }
  const OverlapCounts& overlaps(const MergePlan& plan, int tensor) const { return Of(plan).overlaps[tensor]; }
  // Triangles of all vectors of the tensor (VectorShape::For the plan's scope), one after the other.
  const std::vector<double>& products(const MergePlan& plan, int tensor) const;

 private:
  struct PairFacts {
    std::vector<MagnitudeIndex> magnitudes;  // empty until a plan needs them; so are the others
    std::vector<double> l1;
    std::vector<RowRanks> ranks;
    std::vector<FusionScores> fusion;
  };
  struct GroupFacts {
    std::vector<MagnitudeIndex> variances;
    std::vector<OverlapCounts> overlaps;
    std::map<std::pair<ProductsOf, VectorScope>, std::vector<std::vector<double>>> products;  // [tensor]
  };
  using GroupKey = std::pair<int, std::vector<int>>;  // base (or -1) and models

  const PairFacts& Of(int base, int model) const { return pairs_.find({base, model})->second; }
  const GroupFacts& Of(const MergePlan& plan) const { return groups_.find({plan.base(), plan.models()})->second; }

  // Numbers of the tensors, the smallest first.
  std::vector<int> BySize() const;
  void PrepareMagnitudes(int base, int model);
  void PrepareL1(int base, int model);
  void PrepareRanks(int base, int model);
  void PrepareFusion(int base, int model);
  void PrepareVariances(const MergePlan& plan);
  void PrepareOverlaps(const MergePlan& plan);
  void PrepareProducts(const MergePlan& plan);

  const std::shared_ptr<const MergeSources> sources_;
  ThreadPool& pool_;
  const int64_t bytes_max_;
  const bool one_shot_;
  int64_t bytes_ = 0;
  const std::vector<TensorRun> runs_;
  std::map<std::pair<int, int>, PairFacts> pairs_;
  std::map<GroupKey, GroupFacts> groups_;
};

// The tensors that products are taken of, in the order of the triangles, and what is subtracted from each (null: nothing).
struct ProductVectors {
  std::vector<FloatTensor> tensors;
  const FloatTensor* subtract = nullptr;
};
ProductVectors ProductVectorsOf(const MergePlan& plan, int tensor);

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_SOURCE_FACTS_H_
