// Finds which elements of task vectors stay at known densities, where one candidate is all that is merged: a MagnitudeIndex
// costs more than it saves then.
#ifndef MERGANSER_WORKER_MERGE_CUT_SEARCH_H_
#define MERGANSER_WORKER_MERGE_CUT_SEARCH_H_

#include <cstdint>
#include <stop_token>

#include "absl/types/span.h"
#include "worker/merge/block_math.h"
#include "worker/merge/float_blocks.h"
#include "worker/merge/thread_pool.h"

namespace merganser {

// The `kept` elements of largest magnitude of d = source - base (fp32), of equal ones those with the lowest index.
struct CutQuery {
  const FloatTensor* base = nullptr;
  const FloatTensor* source = nullptr;  // as many elements as the base
  int64_t kept = 0;                     // in [0, elements]
  // Takes the answer: the same elements stay as by MagnitudeIndex::Cut(kept), but that zeros all stay where one of them does
  // (they add nothing to a merge).
  MagnitudeCut* cut = nullptr;
};

// Answers all queries; those of one base that follow each other share its loads. One pass over base and source: a sample
// brackets the threshold, the pass counts what lies above and collects what lies within. The answer is exact; a sample that
// misleads (one in millions) only costs time. Needs 4 bytes an element within the brackets, about 3 % of all. Values that
// are not finite give some answer. Unanswered queries remain once `stop` was requested.
void SearchCuts(absl::Span<const CutQuery> queries, ThreadPool& pool, const std::stop_token& stop);

}  // namespace merganser

#endif  // MERGANSER_WORKER_MERGE_CUT_SEARCH_H_
