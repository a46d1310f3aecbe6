#include "worker/engine/scoring_tree.h"

#include <algorithm>
#include <utility>

namespace merganser {
namespace {

constexpr int kBlock = 16;  // rows and positions are congruent modulo this

class TreeBuilder {
 public:
  explicit TreeBuilder(absl::Span<const ScoringRequest> requests) : requests_(requests) {}

  ScoringTree Build(const std::vector<int>& members) {
    past_ = static_cast<int>(requests_[members.front()].prompt.size());
    end_ = past_;
    AddChildren(members, 0, {{0, 0}});
    return std::move(tree_);
  }
  // Rows that the tree needs, the context's included.
  int64_t end() const { return end_; }

 private:
  const std::vector<int32_t>& Continuation(int request) const { return requests_[request].continuation; }
  // Tokens that are inputs: all but the last.
  int Inputs(int request) const { return static_cast<int>(Continuation(request).size()) - 1; }

  // What follows the first `depth` tokens, which `members` have in common and none of them ends with. `spans` are the
  // parent's.
  void AddChildren(const std::vector<int>& members, int depth, const std::vector<PositionSpan>& spans) {
    std::vector<std::vector<int>> children;  // by their first token
    for (const int request : members) {
      const auto same = [&](const std::vector<int>& child) {
        return Continuation(child.front())[depth] == Continuation(request)[depth];
      };
      const auto it = std::find_if(children.begin(), children.end(), same);
      if (it == children.end()) {
        children.push_back({request});
      } else {
        it->push_back(request);
      }
    }
    for (size_t i = 0; i < children.size(); ++i) AddNode(std::move(children[i]), depth, spans, /*first=*/i == 0);
  }

  void AddNode(std::vector<int> members, int depth, std::vector<PositionSpan> spans, bool first) {
    ScoringTree::Node node;
    node.position = past_ + depth;
    if (!first) {
      end_ = (end_ + kBlock - 1) / kBlock * kBlock + node.position % kBlock;
      spans.push_back({node.position, end_});
    }
    const auto agree = [&] {
      return std::all_of(members.begin(), members.end(),
                         [&](int request) { return Continuation(request)[depth] == Continuation(members.front())[depth]; });
    };
    do {
      node.tokens.push_back(Continuation(members.front())[depth++]);
      std::vector<ScoringTree::Wanted>& wanted = node.wanted.emplace_back();
      for (const int request : members) wanted.push_back({request, depth});
      members.erase(std::remove_if(members.begin(), members.end(), [&](int request) { return Inputs(request) == depth; }),
                    members.end());
    } while (!members.empty() && agree());
    end_ += static_cast<int>(node.tokens.size());
    node.spans = spans;
    tree_.nodes.push_back(std::move(node));
    if (!members.empty()) AddChildren(members, depth, spans);
  }

  const absl::Span<const ScoringRequest> requests_;
  ScoringTree tree_;
  int past_ = 0;  // tokens of the context
  int end_ = 0;
};

void AddTrees(absl::Span<const ScoringRequest> requests, const std::vector<int>& members, int64_t rows,
              std::vector<ScoringTree>* trees) {
  if (members.empty()) return;
  if (members.size() == 1 || rows > 0) {
    TreeBuilder builder(requests);
    ScoringTree tree = builder.Build(members);
    if (members.size() == 1 || builder.end() <= rows) {
      trees->push_back(std::move(tree));
      return;
    }
  }
  const auto middle = members.begin() + static_cast<int64_t>(members.size() / 2);
  AddTrees(requests, {members.begin(), middle}, rows, trees);
  AddTrees(requests, {middle, members.end()}, rows, trees);
}

}  // namespace

std::vector<ScoringTree> MakeScoringTrees(absl::Span<const ScoringRequest> requests, const std::vector<int>& group,
                                          int64_t rows) {
  std::vector<int> members;
  for (const int request : group) {
    if (requests[request].continuation.size() > 1) members.push_back(request);
  }
  // Those with a common beginning stand together when a tree has to be halved.
  std::stable_sort(members.begin(), members.end(),
                   [&](int a, int b) { return requests[a].continuation < requests[b].continuation; });
  std::vector<ScoringTree> trees;
  AddTrees(requests, members, rows, &trees);
  return trees;
}

}  // namespace merganser
