// The continuations of one context as a tree, so that one forward pass takes all of them.
#ifndef MERGANSER_WORKER_ENGINE_SCORING_TREE_H_
#define MERGANSER_WORKER_ENGINE_SCORING_TREE_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "worker/engine/generator.h"
#include "worker/engine/position_span.h"

namespace merganser {

struct ScoringTree {
  // Token `index` of the continuation of `request`.
  struct Wanted {
    int request;
    int index;
  };
  // A run of tokens that some continuations have in common.
  struct Node {
    int position = 0;  // of the first token in the sequence
    std::vector<int32_t> tokens;
    // Where what the tokens see lies, themselves included: from position 0 on, by ascending position. The context is at its
    // own rows.
    std::vector<PositionSpan> spans;
    std::vector<std::vector<Wanted>> wanted;  // for each token: what is to be predicted behind it
  };
  std::vector<Node> nodes;  // each behind its parent; none where the context predicts all
};

// The trees of `group`, which are numbers of requests with equal prompts: together they hold every continuation without its
// last token, which is only a target; targets at index 0 are the context's. One tree if it fits `rows` rows of a slot, else
// as few as halving gives; a tree of one continuation always fits, behind the context. With `rows` 0 each is a tree of its
// own. A first child lies behind its parent, so one continuation is a single span.
std::vector<ScoringTree> MakeScoringTrees(absl::Span<const ScoringRequest> requests, const std::vector<int>& group,
                                          int64_t rows);

}  // namespace merganser

#endif  // MERGANSER_WORKER_ENGINE_SCORING_TREE_H_
