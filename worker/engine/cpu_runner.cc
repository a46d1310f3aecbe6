#include "worker/engine/cpu_runner.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "common/base/status_macros.h"

namespace merganser {
namespace {

// Rows that one thread takes through the layers at a time: few enough for their activations to stay
// in the second-level cache, and more when a layer's weights do not stay in the cache either and
// must be worth their way from memory.
int TileRows(const ModelConfig& config) {
  const int64_t layer = config.hidden_size * (config.hidden_size * 2 + config.intermediate_size * 3);
  return layer < 2'000'000 ? 144 : 480;
}

// The largest logit of a part of the vocabulary, and what the part adds to the softmax's denominator.
struct ChunkBest {
  float max = -std::numeric_limits<float>::infinity();
  int argmax = 0;
  double sum = 0;  // of exp(logit - max)
};

// Of all parts; their sums are added in the parts' order.
ChunkBest BestOf(absl::Span<const ChunkBest> chunks, bool with_sums) {
  ChunkBest all;
  for (const ChunkBest& chunk : chunks) {
    if (chunk.max > all.max) all = {chunk.max, chunk.argmax, 0};
  }
  if (!with_sums) return all;
  for (const ChunkBest& chunk : chunks) all.sum += chunk.sum * std::exp(static_cast<double>(chunk.max) - all.max);
  return all;
}

std::optional<Activation> ActivationOf(const std::string& name) {
  if (name == "silu") return Activation::kSilu;
  if (name == "gelu_pytorch_tanh" || name == "gelu_new") return Activation::kGeluTanh;
  if (name == "gelu") return Activation::kGelu;
  if (name == "relu") return Activation::kRelu;
  return std::nullopt;
}

}  // namespace

struct CpuRunner::Running {
  const StepBatch& batch;
  const StepResults& results;
  std::vector<int> first_target;  // by result, one more at the end
  std::atomic<bool> finite{true};
};

CpuRunner::CpuRunner(const ModelConfig& config, Activation activation, const CpuKernels& kernels, int threads,
                     bool bf16_products)
    : config_(config),
      g_(config),
      activation_(activation),
      kernels_(kernels),
      bf16_products_(bf16_products),
      tile_rows_(TileRows(config)),
      team_(threads) {}

absl::StatusOr<std::unique_ptr<CpuRunner>> CpuRunner::Create(const ModelConfig& config, int slots, int64_t max_length,
                                                             int max_hops, int threads, const CpuKernels& kernels,
                                                             bool bf16_products) {
  const std::optional<Activation> activation = ActivationOf(config.hidden_act);
  if (!activation) {
    return absl::UnimplementedError(absl::StrCat("hidden_act '", config.hidden_act, "' is not supported by the engine"));
  }
  std::unique_ptr<CpuRunner> runner(new CpuRunner(config, *activation, kernels, threads, bf16_products));
  runner->rope_ =
      RopeTable({config.rope_theta, config.rope_scaling}, config.head_dim, config.max_position_embeddings, max_length);
  if (config.sliding_rope) {
    runner->sliding_rope_ = RopeTable(*config.sliding_rope, config.head_dim, config.max_position_embeddings, max_length);
  }
  MG_RETURN_IF_ERROR(runner->Allocate(slots, max_length, max_hops));
  return runner;
}

std::vector<CpuRunner::Tile> CpuRunner::MakeTiles(const StepBatch& batch) const {
  const int rows = static_cast<int>(batch.tokens.size());
  // As many tiles as make all threads busy equally long; but only one, which they share, where
  // reading the weights once for each thread would cost more than meeting after each operation.
  int tiles_wanted = (rows + tile_rows_ - 1) / tile_rows_;
  if (!large_ || tiles_wanted > 1) {
    tiles_wanted = (tiles_wanted + team_.size() - 1) / team_.size() * team_.size();
  }
  const int target = (rows + tiles_wanted - 1) / tiles_wanted;
  std::vector<Tile> tiles(1);
  int token = 0;
  int result = 0;
  for (size_t i = 0; i < batch.segments.size(); ++i) {
    const Segment& segment = batch.segments[i];
    // Segments of one slot see each other: they stay in one tile where they fit.
    bool follows = i > 0 && batch.segments[i - 1].slot == segment.slot;
    if (!follows) {
      int length = segment.length;
      for (size_t j = i + 1; j < batch.segments.size() && batch.segments[j].slot == segment.slot; ++j) {
        length += batch.segments[j].length;
      }
      if (tiles.back().rows > 0 && tiles.back().rows + length > std::min(target + length / 2, tile_rows_))
        tiles.emplace_back();
    }
    const std::vector<PositionSpan>* spans = segment.branch >= 0 ? &batch.branches[segment.branch] : nullptr;
    const int row = segment.past + (spans == nullptr ? 0 : spans->back().row - spans->back().position);
    const int context = std::max(segment.context, segment.past + segment.length);
    for (int done = 0; done < segment.length; follows = true) {
      if (tiles.back().rows == tile_rows_ || (follows && done == 0 && tiles.back().rows + segment.length > tile_rows_)) {
        tiles.emplace_back();
        tiles.back().follows = follows;
      }
      const int piece_rows = std::min(segment.length - done, tile_rows_ - tiles.back().rows);
      const int end = done + piece_rows;
      const int outputs = std::clamp(end - (segment.length - segment.outputs), 0, piece_rows);
      tiles.back().pieces.push_back(
          {segment.slot, segment.past + done, piece_rows, outputs, context, token + done, result, row + done, spans});
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
  ForTiles(MakeTiles(batch), [&](const Tile& tile, Workspace& work, bool shared) { RunTile(run, tile, work, shared); });
  if (!run.finite) {
    return absl::InvalidArgumentError("the model's logits are not finite: its weights overflow or hold NaN");
  }
  return absl::OkStatus();
}

template <typename Run>
void CpuRunner::ForTiles(const std::vector<Tile>& tiles, const Run& run) {
  std::vector<int> chains;  // first tiles of the runs that can go in parallel
  for (size_t i = 0; i < tiles.size(); ++i) {
    if (!tiles[i].follows) chains.push_back(static_cast<int>(i));
  }
  if (static_cast<int>(chains.size()) < team_.size()) {
    for (const Tile& tile : tiles) run(tile, workspaces_[0], /*shared=*/true);
    return;
  }
  team_.For(static_cast<int64_t>(chains.size()), [&](int64_t chain, int member) {
    size_t i = chains[chain];
    do {
      run(tiles[i], workspaces_[member], /*shared=*/false);
    } while (++i < tiles.size() && tiles[i].follows);
  });
}

absl::Status CpuRunner::RunMatrices(int rows, int head_rows) {
  StepBatch batch;
  batch.tokens.resize(rows);
  batch.segments.assign(rows, Segment{0, 0, 1, 0});
  for (int i = 0; i < rows; ++i) batch.segments[i].slot = i;  // sequences of their own; slots are not used
  for (int i = 0; i < head_rows; ++i) batch.segments[i].outputs = 1;
  ForTiles(MakeTiles(batch), [&](const Tile& tile, Workspace& work, bool shared) {
    for (const HopWeights& hop : path_) {
      const CpuWeights::Layer& layer = *hop.layer;
      const auto multiply = [&](const PackedLinear& w, const float* a, int64_t lda, float* c, int64_t ldc) {
        Multiply(w, a, lda, tile.rows, c, ldc, work, shared, kernels_.linear);
      };
      multiply(layer.qkv, work.h, g_.hidden_stride, work.qkv, g_.qkv_stride);
      multiply(layer.o, work.attention, g_.attention_stride, work.x, g_.hidden_stride);
      // Half as many columns as panels have: the other half is the gate's.
      Multiply(layer.gate_up, work.h, g_.hidden_stride, tile.rows, work.inner, g_.inner_stride, work, shared,
               [&](const LinearArgs& args) { kernels_.linear_gated(args, Activation::kRelu); });
      multiply(layer.down, work.inner, g_.inner_stride, work.x, g_.hidden_stride);
    }
    const PackedLinear& head = head_->head();
    int outputs = 0;
    for (const Piece& piece : tile.pieces) outputs += piece.outputs;
    if (outputs == 0) return;
    constexpr int kStride = kVocabPanels * kPanel;
    const int chunks = (g_.vocab_panels + kVocabPanels - 1) / kVocabPanels;
    Over(chunks, 1, shared, work, [&](int begin, int end, Workspace& mine) {
      for (int chunk = begin; chunk < end; ++chunk) {
        const int panel = chunk * kVocabPanels;
        kernels_.linear({work.h, g_.hidden_stride, outputs, head.At(panel), head.type, head.k, 0,
                         std::min(kVocabPanels, g_.vocab_panels - panel), nullptr, mine.logits, kStride, mine.linear});
      }
    });
  });
  return absl::OkStatus();
}

template <typename Kernel>
void CpuRunner::Multiply(const PackedLinear& w, const float* a, int64_t lda, int rows, float* c, int64_t ldc,
                         Workspace& work, bool shared, const Kernel& kernel) {
  constexpr int kPanelGrain = 2;
  Over(w.panels, kPanelGrain, shared, work, [&](int begin, int end, Workspace& mine) {
    kernel(LinearArgs{a, lda, rows, w.weight, w.type, w.k, begin, end, w.bias, c, ldc, mine.linear});
  });
}

template <typename Body>
void CpuRunner::Over(int count, int grain, bool shared, Workspace& work, const Body& body) {
  // A few pieces more than threads, so that one that was held up does not hold up the others.
  const int parts = std::min(count / grain, 4 * team_.size());
  if (!shared || parts < 2) {
    body(0, count, work);
    return;
  }
  team_.For(parts, [&](int64_t part, int member) {
    body(static_cast<int>(part * count / parts), static_cast<int>((part + 1) * count / parts), workspaces_[member]);
  });
}

void CpuRunner::Embed(const StepBatch& batch, const Tile& tile, Workspace& work) const {
  const float factor = config_.scale_embedding ? std::sqrt(static_cast<float>(g_.hidden)) : 1.0f;
  float* x = work.x;
  for (const Piece& piece : tile.pieces) {
    for (int r = 0; r < piece.rows; ++r, x += g_.hidden_stride) {
      const float* given = batch.embeddings.empty() ? nullptr : batch.embeddings[piece.token + r];
      const float scale = path_[0].scale * (given == nullptr ? factor : 1.0f);
      if (given != nullptr) {
        std::memcpy(x, given, g_.hidden * sizeof(float));
      } else {
        embedding_->CopyEmbedding(batch.tokens[piece.token + r], x);
      }
      if (scale != 1.0f) {
        for (int i = 0; i < g_.hidden; ++i) x[i] *= scale;
      }
    }
  }
}

void CpuRunner::RotateAndStore(const Piece& piece, int hop, int begin, int end, float* qkv, float* scratch) {
  const HopWeights& weights = path_[hop];
  const int d = g_.head_stride;
  const float eps = static_cast<float>(config_.rms_norm_eps);
  for (int r = begin; r < end; ++r, qkv += g_.qkv_stride) {
    if (config_.qk_norm) {
      float* keys = qkv + int64_t{g_.heads} * d;
      kernels_.rms_norm(qkv, d, g_.heads, g_.head_dim, weights.layer->q_norm, eps, qkv, d);
      kernels_.rms_norm(keys, d, g_.kv_heads, g_.head_dim, weights.layer->k_norm, eps, keys, d);
    }
    const RopeTable::Row turn = weights.rope->At(piece.past + r, piece.context, scratch);
    kernels_.rope(qkv, g_.heads + g_.kv_heads, d, g_.head_dim, turn.cos, turn.sin);
    const int64_t row = piece.row + r;
    for (int head = 0; head < g_.kv_heads; ++head) {
      const float* k = qkv + (g_.heads + head) * d;
      float* keys = Keys(hop, piece.slot, head) + row / kLane * kLane * d + row % kLane;
      for (int i = 0; i < d; ++i) keys[i * kLane] = k[i];
      std::memcpy(Values(hop, piece.slot, head) + row * d, k + g_.kv_heads * d, d * sizeof(float));
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
  const double scalar = config_.query_pre_attn_scalar > 0 ? config_.query_pre_attn_scalar : g_.head_dim;
  // Later rows see more positions: jobs of a few rows keep the threads level.
  const int job_rows = shared ? 16 : tile_rows_;
  struct Job {
    const Piece* piece;
    int first;  // row of the piece
    int row;    // of the workspace
    int rows;
  };
  std::vector<Job> jobs;
  int row = 0;
  for (const Piece& piece : tile.pieces) {
    const int rows = outputs_only ? piece.outputs : piece.rows;
    for (int begin = 0; begin < rows; begin += job_rows) {
      jobs.push_back({&piece, piece.rows - rows + begin, row + begin, std::min(job_rows, rows - begin)});
    }
    row += rows;
  }
  const int count = static_cast<int>(jobs.size()) * g_.kv_heads;
  Over(count, /*grain=*/1, shared, work, [&](int begin, int end, Workspace& mine) {
    for (int i = begin; i < end; ++i) {
      const Job& job = jobs[i / g_.kv_heads];
      const int head = i % g_.kv_heads;
      AttentionArgs args;
      args.q = work.qkv + int64_t{job.row} * g_.qkv_stride + head * group * g_.head_stride;
      args.ldq = g_.qkv_stride;
      args.rows = job.rows;
      args.group = group;
      args.head_dim = g_.head_stride;
      args.keys = Keys(hop, job.piece->slot, head);
      args.values = Values(hop, job.piece->slot, head);
      args.position = job.piece->past + job.first;
      args.window = path_[hop].window;
      args.scale = static_cast<float>(1.0 / std::sqrt(scalar));
      args.softcap = static_cast<float>(config_.attention_softcap);
      args.scores = mine.scores;
      args.out = work.attention + int64_t{job.row} * g_.attention_stride + head * group * g_.head_stride;
      args.ldo = g_.attention_stride;
      if (job.piece->spans != nullptr) {
        args.spans = job.piece->spans->data();
        args.span_count = static_cast<int>(job.piece->spans->size());
      }
      kernels_.attention(args);
    }
  });
}

void CpuRunner::RunTile(Running& run, const Tile& tile, Workspace& work, bool shared) {
  int rows = tile.rows;
  const float eps = static_cast<float>(config_.rms_norm_eps);
  const int64_t stride = g_.hidden_stride;
  constexpr int kRowGrain = 8;
  const auto linear = [&](const PackedLinear& w, const float* a, int64_t lda, float* c, int64_t ldc, const auto& kernel) {
    Multiply(w, a, lda, rows, c, ldc, work, shared, kernel);
  };
  // y = norm(x), and x += scale * y if `scale` is not 0.
  const auto norm = [&](const float* from, const float* weight, float* y, float scale) {
    Over(rows, kRowGrain, shared, work, [&](int begin, int end, Workspace&) {
      const int64_t at = begin * stride;
      kernels_.rms_norm(from + at, stride, end - begin, g_.hidden, weight, eps, y + at, stride);
      if (scale != 0) kernels_.add(y + at, stride, end - begin, g_.hidden, scale, work.x + at, stride);
    });
  };
  // x += scale * (a W^T + bias), normed before it is added where the family does so.
  const auto project = [&](const PackedLinear& w, const float* a, int64_t lda, const float* weight, float scale) {
    if (weight == nullptr) {
      linear(w, a, lda, work.x, stride, [&](const LinearArgs& args) { kernels_.linear_add(args, scale); });
      return;
    }
    linear(w, a, lda, work.h, stride, kernels_.linear);
    norm(work.h, weight, work.h, scale);
  };
  Embed(run.batch, tile, work);
  const int hops = static_cast<int>(path_.size());
  for (int hop = 0; hop < hops; ++hop) {
    const CpuWeights::Layer& layer = *path_[hop].layer;
    const bool last = hop + 1 == hops;
    norm(work.x, layer.input_norm, work.h, 0);
    linear(layer.qkv, work.h, stride, work.qkv, g_.qkv_stride, kernels_.linear);
    if (shared && tile.pieces.size() > 1) {
      Over(static_cast<int>(tile.pieces.size()), kRowGrain, shared, work, [&](int begin, int end, Workspace& mine) {
        int row = 0;
        for (int p = 0; p < end; row += tile.pieces[p++].rows) {
          if (p < begin) continue;
          RotateAndStore(tile.pieces[p], hop, 0, tile.pieces[p].rows, work.qkv + int64_t{row} * g_.qkv_stride, mine.rope);
        }
      });
    } else {
      float* qkv = work.qkv;
      for (const Piece& piece : tile.pieces) {
        Over(piece.rows, kRowGrain, shared, work, [&](int begin, int end, Workspace& mine) {
          RotateAndStore(piece, hop, begin, end, qkv + int64_t{begin} * g_.qkv_stride, mine.rope);
        });
        qkv += int64_t{piece.rows} * g_.qkv_stride;
      }
    }
    // Past the last layer's keys and values, only the rows whose results are wanted matter.
    if (last) rows = KeepOutputs(tile, work);
    if (rows == 0) return;
    Attend(tile, hop, last, work, shared);
    const bool output_norms = config_.output_norms;
    project(layer.o, work.attention, g_.attention_stride, output_norms ? layer.post_norm : nullptr, 1.0f);
    norm(work.x, output_norms ? layer.pre_mlp_norm : layer.post_norm, work.h, 0);
    linear(layer.gate_up, work.h, stride, work.inner, g_.inner_stride,
           [&](const LinearArgs& args) { kernels_.linear_gated(args, activation_); });
    project(layer.down, work.inner, g_.inner_stride, layer.post_mlp_norm, last ? 1.0f : path_[hop + 1].scale);
  }
  norm(work.x, head_->final_norm(), work.h, 0);
  Predict(run, tile, rows, work, shared);
}

void CpuRunner::Predict(Running& run, const Tile& tile, int rows, Workspace& work, bool shared) {
  std::vector<int> result_of;
  result_of.reserve(rows);
  for (const Piece& piece : tile.pieces) {
    for (int i = 0; i < piece.outputs; ++i) result_of.push_back(piece.result + i);
  }
  const StepResults& out = run.results;
  const bool with_sums = run.batch.log_sums || !run.batch.targets.empty();
  const PackedLinear& head = head_->head();
  const float cap = static_cast<float>(config_.final_softcap);
  constexpr int kStride = kVocabPanels * kPanel;
  const int chunks = (g_.vocab_panels + kVocabPanels - 1) / kVocabPanels;
  // Each chunk is reduced by itself and the chunks in their order, so that a sum rounds the same
  // whoever computed it.
  std::vector<ChunkBest> best(static_cast<size_t>(rows) * chunks);
  Over(chunks, /*grain=*/1, shared, work, [&](int begin, int end, Workspace& mine) {
    for (int chunk = begin; chunk < end; ++chunk) {
      const int panel = chunk * kVocabPanels;
      const int panels = std::min(kVocabPanels, g_.vocab_panels - panel);
      kernels_.linear({work.h, g_.hidden_stride, rows, head.At(panel), head.type, head.k, 0, panels, nullptr, mine.logits,
                       kStride, mine.linear});
      const int base = panel * kPanel;
      const int n = std::min(panels * kPanel, g_.vocab - base);
      for (int r = 0; r < rows; ++r) {
        float* row = mine.logits + int64_t{r} * kStride;
        if (cap > 0) kernels_.softcap(row, n, cap);
        ChunkBest& b = best[static_cast<size_t>(r) * chunks + chunk];
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
  });
  for (int r = 0; r < rows; ++r) {
    const ChunkBest all = BestOf(absl::MakeConstSpan(&best[static_cast<size_t>(r) * chunks], chunks), with_sums);
    if (!std::isfinite(all.max)) run.finite = false;
    const double log_sum = with_sums ? all.max + std::log(all.sum) : 0.0;
    out.rows[result_of[r]] = {all.argmax, all.max, log_sum};
    for (int t = run.first_target[result_of[r]]; t < run.first_target[result_of[r] + 1]; ++t) {
      out.log_probs[t] -= log_sum;  // the target's logit so far
    }
  }
}

}  // namespace merganser
