// What CpuRunner holds: the cache of keys and values, and the stacks' weights.
#include <algorithm>
#include <cstring>
#include <limits>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/engine/cpu_runner.h"

namespace merganser {
namespace {

// A path whose weights are larger than this is read from memory in every step.
constexpr int64_t kCachedBytes = 24 << 20;

}  // namespace

int64_t CpuRunner::SlotBytes(const ModelConfig& config, int64_t max_length, int max_hops) {
  const CpuGeometry g(config);
  return (max_length + kLane - 1) / kLane * kLane * g.head_stride * g.kv_heads * 2 * max_hops *
         static_cast<int64_t>(sizeof(float));
}

absl::Status CpuRunner::Allocate(int slots, int64_t max_length, int max_hops) {
  slots_ = slots;
  positions_ = (max_length + kLane - 1) / kLane * kLane;
  MG_ASSIGN_OR_RETURN(cache_, ZeroedMemory::Allocate(SlotBytes(config_, max_length, max_hops) /
                                                     static_cast<int64_t>(sizeof(float)) * slots));
  const int64_t width =
      int64_t{2} * g_.hidden_stride + g_.qkv_stride + g_.attention_stride + g_.inner_stride + kVocabPanels * kPanel;
  const int depth = std::max({g_.hidden, g_.inner, g_.heads * g_.head_stride});  // of the deepest matrix
  const int64_t linear = bf16_products_ ? PairsScratch(tile_rows_, depth) : LinearScratch(tile_rows_);
  const int64_t rope = (g_.head_dim + kLane - 1) / kLane * kLane;
  for (int i = 0; i < team_.size(); ++i) {
    Workspace work;
    MG_ASSIGN_OR_RETURN(work.memory, ZeroedMemory::Allocate(width * tile_rows_ + linear + rope +
                                                            AttentionWorkspace(g_.heads / g_.kv_heads, positions_)));
    float* p = work.memory.data();
    const auto take = [&](int64_t floats) {
      float* begin = p;
      p += floats;
      return begin;
    };
    work.x = take(int64_t{g_.hidden_stride} * tile_rows_);
    work.h = take(int64_t{g_.hidden_stride} * tile_rows_);
    work.qkv = take(int64_t{g_.qkv_stride} * tile_rows_);
    work.attention = take(int64_t{g_.attention_stride} * tile_rows_);
    work.inner = take(int64_t{g_.inner_stride} * tile_rows_);
    work.logits = take(int64_t{kVocabPanels} * kPanel * tile_rows_);
    work.linear = take(linear);
    work.rope = take(rope);
    work.scores = p;
    workspaces_.push_back(std::move(work));
  }
  return absl::OkStatus();
}

float* CpuRunner::Keys(int hop, int slot, int kv_head) const {
  return cache_.data() + ((int64_t{hop} * slots_ + slot) * g_.kv_heads + kv_head) * 2 * positions_ * g_.head_stride;
}

float* CpuRunner::Values(int hop, int slot, int kv_head) const {
  return Keys(hop, slot, kv_head) + positions_ * g_.head_stride;
}

absl::Status CpuRunner::LoadWeights(const ModelWeights& weights) {
  path_.clear();
  std::vector<WeightsWanted> wanted(weights.stacks.size());
  for (const LayerHop& hop : weights.path) wanted[hop.stack].layers.insert(hop.layer);
  wanted[weights.embedding_stack].embedding = true;
  wanted[weights.head_stack].head = true;

  // Each stack takes what holds its layers already, else the memory of one that nobody wants.
  std::vector<std::unique_ptr<CpuWeights>> before = std::move(stacks_);
  stacks_.clear();
  stacks_.resize(weights.stacks.size());
  const auto claim = [&](const auto& fits) {
    for (size_t i = 0; i < stacks_.size(); ++i) {
      for (std::unique_ptr<CpuWeights>& old : before) {
        if (stacks_[i] == nullptr && old != nullptr && fits(*old, weights.stacks[i].source->constant_id())) {
          stacks_[i] = std::move(old);
        }
      }
    }
  };
  claim([](const CpuWeights& old, uint64_t id) { return id != 0 && old.constant_id() == id; });
  claim([](const CpuWeights&, uint64_t) { return true; });
  before.clear();  // before anything is allocated: both may not fit
  for (size_t i = 0; i < stacks_.size(); ++i) {
    const ModelWeights::Stack& stack = weights.stacks[i];
    if (stack.source->device() != "cpu") {
      return absl::InvalidArgumentError(
          absl::StrCat("weights on ", stack.source->device(), " cannot be loaded by an engine on the CPU"));
    }
    if (stacks_[i] == nullptr) stacks_[i] = std::make_unique<CpuWeights>(bf16_products_);
    const int layers = stack.num_layers > 0 ? stack.num_layers : static_cast<int>(config_.num_layers);
    MG_RETURN_IF_ERROR(stacks_[i]->Load(config_, *stack.source, layers, wanted[i], team_));
  }
  embedding_ = stacks_[weights.embedding_stack].get();
  head_ = stacks_[weights.head_stack].get();
  int64_t bytes = 0;
  for (const LayerHop& hop : weights.path) {
    const CpuWeights& stack = *stacks_[hop.stack];
    // A stack with more layers than the config goes on with the config's pattern at its last ones.
    const int64_t layer = std::min<int64_t>(hop.layer, config_.num_layers - 1);
    const int64_t window = config_.WindowOf(layer);
    path_.push_back({&stack.layer(hop.layer), hop.scale,
                     static_cast<int>(window == 0 ? std::numeric_limits<int>::max()
                                                  : std::min<int64_t>(window, std::numeric_limits<int>::max())),
                     config_.UsesSlidingRope(layer) ? &sliding_rope_ : &rope_});
    bytes += stack.LayerBytes();
  }
  large_ = bytes > kCachedBytes;
  return absl::OkStatus();
}

absl::Status CpuRunner::CopyPositions(int from, int to, int begin, int end) {
  // Keys lie in blocks of kLane positions; what the last block holds past `end` is never read.
  const int64_t first = static_cast<int64_t>(begin / kLane * kLane) * g_.head_stride;
  const int64_t last = static_cast<int64_t>((end + kLane - 1) / kLane * kLane) * g_.head_stride;
  const size_t bytes = static_cast<size_t>(last - first) * sizeof(float);
  for (int hop = 0; hop < static_cast<int>(path_.size()); ++hop) {
    for (int head = 0; head < g_.kv_heads; ++head) {
      std::memcpy(Keys(hop, to, head) + first, Keys(hop, from, head) + first, bytes);
      std::memcpy(Values(hop, to, head) + first, Values(hop, from, head) + first, bytes);
    }
  }
  return absl::OkStatus();
}

}  // namespace merganser
