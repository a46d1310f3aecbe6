#include "worker/engine/cpu_runner.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace merganser {
namespace {

constexpr int kVocabPanels =
    32;  // of the output matrix at a time: 1024 logits a row, which stay in the cache

// Rows that one thread takes through the layers at a time: few enough for their activations to stay
// in the second-level cache, and more when a layer's weights do not stay in the cache either and
// must be worth their way from memory.
int TileRows(const ModelConfig& config) {
  const int64_t layer =
      config.hidden_size * (config.hidden_size * 2 + config.intermediate_size * 3);
  return layer < 2'000'000 ? 144 : 480;
}

}  // namespace

struct CpuRunner::Running {
  const StepBatch& batch;
  const StepResults& results;
  std::vector<int> first_target;  // by result, one more at the end
  std::atomic<bool> finite{true};
};

CpuRunner::CpuRunner(const ModelConfig& config, const CpuKernels& kernels, int threads)
    : config_(config),
      g_(config),
      kernels_(kernels),
      window_(static_cast<int>(
          std::min<int64_t>(config.sliding_window.value_or(std::numeric_limits<int>::max()),
                            std::numeric_limits<int>::max()))),
      tile_rows_(TileRows(config)),
      team_(threads) {}

absl::StatusOr<std::unique_ptr<CpuRunner>> CpuRunner::Create(const ModelConfig& config, int slots,
                                                             int64_t max_length, int max_hops,
                                                             int threads,
                                                             const CpuKernels& kernels) {
  if (config.hidden_act != "silu") {
    return absl::UnimplementedError(absl::StrCat("hidden_act '", config.hidden_act,
                                                 "' is not supported by the engine (silu is)"));
  }
  std::unique_ptr<CpuRunner> runner(new CpuRunner(config, kernels, threads));
  MG_ASSIGN_OR_RETURN(runner->rope_, MakeRopeTable(config, max_length));
  MG_RETURN_IF_ERROR(runner->Allocate(slots, max_length, max_hops));
  return runner;
}

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
  const int64_t width = int64_t{2} * g_.hidden_stride + g_.qkv_stride + g_.attention_stride +
                        g_.inner_stride + kVocabPanels * kPanel;
  for (int i = 0; i < team_.size(); ++i) {
    Workspace work;
    MG_ASSIGN_OR_RETURN(work.memory, ZeroedMemory::Allocate(
                                         width * tile_rows_ +
                                         AttentionWorkspace(g_.heads / g_.kv_heads, positions_)));
    float* p = work.memory.data();
    const auto take = [&](int64_t stride) {
      float* begin = p;
      p += stride * tile_rows_;
      return begin;
    };
    work.x = take(g_.hidden_stride);
    work.h = take(g_.hidden_stride);
    work.qkv = take(g_.qkv_stride);
    work.attention = take(g_.attention_stride);
    work.inner = take(g_.inner_stride);
    work.logits = take(kVocabPanels * kPanel);
    work.scores = p;
    workspaces_.push_back(std::move(work));
  }
  return absl::OkStatus();
}

float* CpuRunner::Keys(int hop, int slot, int kv_head) const {
  return cache_.data() +
         ((int64_t{hop} * slots_ + slot) * g_.kv_heads + kv_head) * 2 * positions_ * g_.head_stride;
}

float* CpuRunner::Values(int hop, int slot, int kv_head) const {
  return Keys(hop, slot, kv_head) + positions_ * g_.head_stride;
}

absl::Status CpuRunner::LoadWeights(const WeightSource& source, absl::Span<const LayerHop> path) {
  path_.clear();
  if (source.device() != "cpu") {
    return absl::InvalidArgumentError(
        absl::StrCat("weights on ", source.device(), " cannot be loaded by an engine on the CPU"));
  }
  MG_RETURN_IF_ERROR(weights_.Load(config_, source, team_));
  path_.assign(path.begin(), path.end());
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

std::vector<CpuRunner::Tile> CpuRunner::MakeTiles(const StepBatch& batch) const {
  const int rows = static_cast<int>(batch.tokens.size());
  // As many tiles as make all threads busy equally long.
  int tiles_wanted = (rows + tile_rows_ - 1) / tile_rows_;
  tiles_wanted = (tiles_wanted + team_.size() - 1) / team_.size() * team_.size();
  const int target = (rows + tiles_wanted - 1) / tiles_wanted;
  std::vector<Tile> tiles(1);
  int token = 0;
  int result = 0;
  for (const Segment& segment : batch.segments) {
    if (tiles.back().rows > 0 &&
        tiles.back().rows + segment.length > std::min(target + segment.length / 2, tile_rows_)) {
      tiles.emplace_back();
    }
    for (int done = 0; done < segment.length;) {
      if (done > 0) {
        tiles.emplace_back();
        tiles.back().follows = true;
      }
      const int piece_rows = std::min(segment.length - done, tile_rows_);
      const int end = done + piece_rows;
      const int outputs = std::clamp(end - (segment.length - segment.outputs), 0, piece_rows);
      tiles.back().pieces.push_back(
          {segment.slot, segment.past + done, piece_rows, outputs, token + done, result});
      tiles.back().rows += piece_rows;
      result += outputs;
      done = end;
    }
    token += segment.length;
  }
  return tiles;
}

absl::Status CpuRunner::Step(const StepBatch& batch, const StepResults& results) {
  Running run{batch, results, {}};
  run.first_target.assign(results.rows.size() + 1, 0);
  for (const Target& target : batch.targets) ++run.first_target[target.result + 1];
  std::partial_sum(run.first_target.begin(), run.first_target.end(), run.first_target.begin());
  const std::vector<Tile> tiles = MakeTiles(batch);
  std::vector<int> chains;  // first tiles of the runs that can go in parallel
  for (size_t i = 0; i < tiles.size(); ++i) {
    if (!tiles[i].follows) chains.push_back(static_cast<int>(i));
  }
  if (static_cast<int>(chains.size()) < team_.size()) {
    for (const Tile& tile : tiles) RunTile(run, tile, workspaces_[0], /*shared=*/true);
  } else {
    team_.For(static_cast<int64_t>(chains.size()), [&](int64_t chain, int member) {
      size_t i = chains[chain];
      do {
        RunTile(run, tiles[i], workspaces_[member], /*shared=*/false);
      } while (++i < tiles.size() && tiles[i].follows);
    });
  }
  if (!run.finite) {
    return absl::InvalidArgumentError(
        "the model's logits are not finite: its weights overflow or hold NaN");
  }
  return absl::OkStatus();
}

template <typename Body>
void CpuRunner::OverPanels(int panels, bool shared, const Body& body) {
  if (!shared || panels < 2 * team_.size()) {
    body(0, panels);
    return;
  }
  const int parts = team_.size();
  team_.For(parts, [&](int64_t part, int) {
    body(static_cast<int>(part * panels / parts), static_cast<int>((part + 1) * panels / parts));
  });
}

void CpuRunner::Embed(const StepBatch& batch, const Tile& tile, Workspace& work) const {
  const float scale = path_[0].scale;
  float* x = work.x;
  for (const Piece& piece : tile.pieces) {
    for (int r = 0; r < piece.rows; ++r, x += g_.hidden_stride) {
      const float* row =
          weights_.embedding() + int64_t{batch.tokens[piece.token + r]} * g_.hidden_stride;
      std::memcpy(x, row, g_.hidden_stride * sizeof(float));
      if (scale != 1.0f) {
        for (int i = 0; i < g_.hidden; ++i) x[i] *= scale;
      }
    }
  }
}

void CpuRunner::RotateAndStore(const Piece& piece, int hop, float* qkv) {
  const int rotated = g_.heads + g_.kv_heads;
  const int d = g_.head_stride;
  for (int r = 0; r < piece.rows; ++r, qkv += g_.qkv_stride) {
    const int64_t position = piece.past + r;
    kernels_.rope(qkv, rotated, d, g_.head_dim, rope_.cos.data() + position * rope_.half,
                  rope_.sin.data() + position * rope_.half);
    for (int head = 0; head < g_.kv_heads; ++head) {
      const float* k = qkv + (g_.heads + head) * d;
      float* keys = Keys(hop, piece.slot, head) + position / kLane * kLane * d + position % kLane;
      for (int i = 0; i < d; ++i) keys[i * kLane] = k[i];
      std::memcpy(Values(hop, piece.slot, head) + position * d, k + g_.kv_heads * d,
                  d * sizeof(float));
    }
  }
}

int CpuRunner::KeepOutputs(const Tile& tile, Workspace& work) const {
  int from = 0;
  int to = 0;
  for (const Piece& piece : tile.pieces) {
    from += piece.rows;
    for (int r = from - piece.outputs; r < from; ++r, ++to) {
      if (r == to) continue;
      std::memcpy(work.x + int64_t{to} * g_.hidden_stride, work.x + int64_t{r} * g_.hidden_stride,
                  g_.hidden_stride * sizeof(float));
      std::memcpy(work.qkv + int64_t{to} * g_.qkv_stride, work.qkv + int64_t{r} * g_.qkv_stride,
                  g_.heads * g_.head_stride * sizeof(float));
    }
  }
  return to;
}

void CpuRunner::Attend(const Tile& tile, int hop, bool outputs_only, Workspace& work, bool shared) {
  const int group = g_.heads / g_.kv_heads;
  const float scale = 1.0f / std::sqrt(static_cast<float>(g_.head_dim));
  const auto attend = [&](const Piece& piece, int first, int row, int rows, int head,
                          float* scores) {
    AttentionArgs args;
    args.q = work.qkv + int64_t{row} * g_.qkv_stride + head * group * g_.head_stride;
    args.ldq = g_.qkv_stride;
    args.rows = rows;
    args.group = group;
    args.head_dim = g_.head_stride;
    args.keys = Keys(hop, piece.slot, head);
    args.values = Values(hop, piece.slot, head);
    args.position = piece.past + first;
    args.window = window_;
    args.scale = scale;
    args.scores = scores;
    args.out = work.attention + int64_t{row} * g_.attention_stride + head * group * g_.head_stride;
    args.ldo = g_.attention_stride;
    kernels_.attention(args);
  };
  int row = 0;
  for (const Piece& piece : tile.pieces) {
    const int rows = outputs_only ? piece.outputs : piece.rows;
    const int first = piece.rows - rows;
    if (!shared) {
      for (int head = 0; head < g_.kv_heads; ++head)
        attend(piece, first, row, rows, head, work.scores);
    } else {
      // Later rows see more positions: pieces of a few rows keep the threads level.
      constexpr int kRows = 16;
      const int parts = (rows + kRows - 1) / kRows;
      team_.For(int64_t{parts} * g_.kv_heads, [&](int64_t index, int member) {
        const int begin = static_cast<int>(index / g_.kv_heads) * kRows;
        attend(piece, first + begin, row + begin, std::min(kRows, rows - begin),
               static_cast<int>(index % g_.kv_heads), workspaces_[member].scores);
      });
    }
    row += rows;
  }
}

void CpuRunner::RunTile(Running& run, const Tile& tile, Workspace& work, bool shared) {
  const auto args = [](const PackedLinear& w, const float* a, int64_t lda, int rows, float* c,
                       int64_t ldc) {
    return LinearArgs{a, lda, rows, w.weight, w.k, 0, w.panels, w.bias, c, ldc};
  };
  const auto over_panels = [&](LinearArgs linear, const auto& kernel) {
    OverPanels(linear.panel_end, shared, [&](int begin, int end) {
      LinearArgs part = linear;
      part.panel_begin = begin;
      part.panel_end = end;
      kernel(part);
    });
  };
  int rows = tile.rows;
  const float eps = static_cast<float>(config_.rms_norm_eps);
  const auto norm = [&](const float* weight) {
    kernels_.rms_norm(work.x, g_.hidden_stride, rows, g_.hidden, weight, eps, work.h,
                      g_.hidden_stride);
  };
  Embed(run.batch, tile, work);
  const int hops = static_cast<int>(path_.size());
  for (int hop = 0; hop < hops; ++hop) {
    const CpuWeights::Layer& layer = weights_.layer(path_[hop].layer);
    const bool last = hop + 1 == hops;
    norm(layer.input_norm);
    over_panels(args(layer.qkv, work.h, g_.hidden_stride, rows, work.qkv, g_.qkv_stride),
                kernels_.linear);
    float* qkv = work.qkv;
    for (const Piece& piece : tile.pieces) {
      RotateAndStore(piece, hop, qkv);
      qkv += int64_t{piece.rows} * g_.qkv_stride;
    }
    // Past the last layer's keys and values, only the rows whose results are wanted matter.
    if (last) rows = KeepOutputs(tile, work);
    if (rows == 0) return;
    Attend(tile, hop, last, work, shared);
    over_panels(args(layer.o, work.attention, g_.attention_stride, rows, work.x, g_.hidden_stride),
                [&](const LinearArgs& a) { kernels_.linear_add(a, 1.0f); });
    norm(layer.post_norm);
    over_panels(args(layer.gate_up, work.h, g_.hidden_stride, rows, work.inner, g_.inner_stride),
                kernels_.linear_swiglu);
    const float scale = last ? 1.0f : path_[hop + 1].scale;
    over_panels(args(layer.down, work.inner, g_.inner_stride, rows, work.x, g_.hidden_stride),
                [&](const LinearArgs& a) { kernels_.linear_add(a, scale); });
  }
  norm(weights_.final_norm());
  Predict(run, tile, rows, work, shared);
}

void CpuRunner::Predict(Running& run, const Tile& tile, int rows, Workspace& work, bool shared) {
  struct Best {
    float max = -std::numeric_limits<float>::infinity();
    int argmax = 0;
    double sum = 0;
  };
  std::vector<int> result_of;
  result_of.reserve(rows);
  for (const Piece& piece : tile.pieces) {
    for (int i = 0; i < piece.outputs; ++i) result_of.push_back(piece.result + i);
  }
  std::vector<Best> best(rows);
  const StepResults& out = run.results;
  const bool with_sums = run.batch.log_sums || !run.batch.targets.empty();
  constexpr int kStride = kVocabPanels * kPanel;
  for (int panel = 0; panel < g_.vocab_panels; panel += kVocabPanels) {
    const int panels = std::min(kVocabPanels, g_.vocab_panels - panel);
    OverPanels(panels, shared, [&](int begin, int end) {
      const PackedLinear& head = weights_.head();
      const float* weight = head.weight + int64_t{panel} * head.k * kPanel;
      kernels_.linear({work.h, g_.hidden_stride, rows, weight, head.k, begin, end, nullptr,
                       work.logits, kStride});
    });
    const int base = panel * kPanel;
    const int n = std::min(panels * kPanel, g_.vocab - base);
    for (int r = 0; r < rows; ++r) {
      const float* row = work.logits + int64_t{r} * kStride;
      Best& b = best[r];
      kernels_.reduce_logits(row, n, base, &b.max, &b.argmax, with_sums ? &b.sum : nullptr);
      for (int t = run.first_target[result_of[r]]; t < run.first_target[result_of[r] + 1]; ++t) {
        const int target = run.batch.targets[t].token - base;
        if (target >= 0 && target < n) out.log_probs[t] = row[target];
      }
      if (out.logits != nullptr) {
        std::memcpy(out.logits + int64_t{result_of[r]} * g_.vocab + base, row, n * sizeof(float));
      }
    }
  }
  for (int r = 0; r < rows; ++r) {
    if (!std::isfinite(best[r].max)) run.finite = false;
    const double log_sum = with_sums ? best[r].max + std::log(best[r].sum) : 0.0;
    out.rows[result_of[r]] = {best[r].argmax, best[r].max, log_sum};
    for (int t = run.first_target[result_of[r]]; t < run.first_target[result_of[r] + 1]; ++t) {
      out.log_probs[t] -= log_sum;  // the target's logit so far
    }
  }
}

}  // namespace merganser
