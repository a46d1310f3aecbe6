// The kernels' one source. A file per instruction set defines MG_KERNEL_NAMESPACE and
// MG_KERNEL_NAME and includes this; see cpu_kernels.h for what they compute. No header of
// anybody else: nothing inline may be compiled twice with different flags.
#include <cstdint>

#include "worker/engine/cpu_kernels.h"
#include "worker/engine/cpu_vector_impl.h"

namespace merganser::MG_KERNEL_NAMESPACE {
namespace {

// What becomes of a finished row of a panel: its 16 first and its 16 last columns.
struct StoreRow {
  MG_INLINE void operator()(float* c, const Vec& x, const Vec& y) const {
    Store(c, x);
    Store(c + kLane, y);
  }
  static constexpr int kColumns = kPanel;
};
struct AddRow {
  float scale;
  MG_INLINE void operator()(float* c, const Vec& x, const Vec& y) const {
    Store(c, Load(c) + x * scale);
    Store(c + kLane, Load(c + kLane) + y * scale);
  }
  static constexpr int kColumns = kPanel;
};
template <Activation kActivation>
struct GatedRow {
  MG_INLINE void operator()(float* c, const Vec& gate, const Vec& up) const {
    const Vec one = Splat(1.0f);
    if constexpr (kActivation == Activation::kSilu) {
      Store(c, gate / (one + Exp(gate * -1.0f)) * up);
    } else if constexpr (kActivation == Activation::kGeluTanh) {
      // (1 + tanh(u)) / 2 is 1 / (1 + exp(-2u)); -2 sqrt(2 / pi) = -1.5957691...
      const Vec u = gate + gate * gate * gate * 0.044715f;
      Store(c, gate / (one + Exp(u * -1.5957691216057308f)) * up);
    } else if constexpr (kActivation == Activation::kGelu) {
      alignas(64) float x[kLane];
      Store(x, gate);
      for (int i = 0; i < kLane; ++i) {
        x[i] = 0.5f * x[i] * (1.0f + __builtin_erff(x[i] * 0.70710678118654752f));
      }
      Store(c, Load(x) * up);
    } else {
      Store(c, Max(gate, Splat(0.0f)) * up);
    }
  }
  static constexpr int kColumns = kLane;
};

// acc += rows of a times rows of the weight, which are `stride` apart. The order of the additions is
// that of k, whatever the block.
template <int kRows, typename Weight>
MG_INLINE void Accumulate(const float* a, int64_t lda, const Weight* w, int stride, int k, Vec (&acc)[kRows][kVectors]) {
  for (int i = 0; i < k; ++i) {
    Vec x[kVectors];
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) x[v] = Load(w + i * stride + v * kLane);
#pragma GCC unroll 12
    for (int r = 0; r < kRows; ++r) {
      const float y = a[r * lda + i];
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) MultiplyAdd(acc[r][v], x[v], y);
    }
  }
}

template <typename Epilogue>
MG_INLINE void Finish(const float* sums, const float* bias, float* c, const Epilogue& epilogue) {
  Vec x = Load(sums);
  Vec y = Load(sums + kLane);
  if (bias != nullptr) {
    x = x + Load(bias);
    y = y + Load(bias + kLane);
  }
  epilogue(c, x, y);
}

// sums[r] (32 columns) of kRows rows over `depth` weights; `first`: they start at zero.
// The halves of the panel lie `half_stride` apart, their rows `stride`.
template <int kRows, typename Weight>
MG_INLINE void SumBlock(const float* a, int64_t lda, const Weight* w, int stride, int64_t half_stride, int depth, bool first,
                        float* sums) {
  for (int half = 0; half < kHalves; ++half) {
    Vec acc[kRows][kVectors];
    float* s = sums + half * kLane;
#pragma GCC unroll 12
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) {
        acc[r][v] = first ? Splat(0.0f) : Load(s + r * kPanel + v * kLane);
      }
    }
    Accumulate<kRows>(a, lda, w + half * half_stride, stride, depth, acc);
#pragma GCC unroll 12
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) Store(s + r * kPanel + v * kLane, acc[r][v]);
    }
  }
}

// SumBlock for a number of rows that is known at run time only.
template <int kRows, typename Weight>
struct Rows {
  static void Sum(int rows, const float* a, int64_t lda, const Weight* w, int stride, int64_t half_stride, int depth,
                  bool first, float* sums) {
    if (rows == kRows) {
      SumBlock<kRows>(a, lda, w, stride, half_stride, depth, first, sums);
    } else {
      Rows<kRows - 1, Weight>::Sum(rows, a, lda, w, stride, half_stride, depth, first, sums);
    }
  }
};
template <typename Weight>
struct Rows<0, Weight> {
  static void Sum(int, const float*, int64_t, const Weight*, int, int64_t, int, bool, float*) {}
};

// Not inlined: it is most of the time and most of the code, and the same for every epilogue.
template <typename Weight>
__attribute__((noinline)) void SumRows(int rows, const float* a, int64_t lda, const Weight* w, int stride,
                                       int64_t half_stride, int depth, bool first, float* sums) {
  int r = 0;
  for (; r + kRowsMax <= rows; r += kRowsMax) {
    SumBlock<kRowsMax>(a + r * lda, lda, w, stride, half_stride, depth, first, sums + r * kPanel);
  }
  Rows<kRowsMax - 1, Weight>::Sum(rows - r, a + r * lda, lda, w, stride, half_stride, depth, first, sums + r * kPanel);
}

// Widens `depth` rows of a panel: its halves one after the other, so that a block reads one stretch.
MG_INLINE void Widen(const uint16_t* w, int depth, float* out) {
  constexpr int kWidth = kVectors * kLane;
  for (int half = 0; half < kHalves; ++half) {
    float* to = out + half * depth * kWidth;
    for (int i = 0; i < depth; ++i) {
      for (int v = 0; v < kVectors; ++v) {
        Store(to + i * kWidth + v * kLane, Load(w + i * kPanel + half * kWidth + v * kLane));
      }
    }
  }
}

template <typename Weight, typename Epilogue>
MG_INLINE void LinearOver(const LinearArgs& g, const Epilogue& epilogue) {
  float* const sums = g.scratch;
  float* const widened = g.scratch + static_cast<int64_t>(g.rows) * kPanel;
  constexpr int kWidth = kVectors * kLane;
  for (int p = g.panel_begin; p < g.panel_end; ++p) {
    const Weight* panel = static_cast<const Weight*>(g.weight) + static_cast<int64_t>(p) * g.k * kPanel;
    if (g.rows <= kRowsMax) {
      // Every weight is used once: it goes straight from memory into registers.
      SumRows(g.rows, g.a, g.lda, panel, kPanel, kWidth, g.k, true, sums);
    } else {
      // A piece of the panel stays in the first-level cache while all rows pass over it.
      for (int begin = 0; begin < g.k; begin += kDepth) {
        const int depth = g.k - begin < kDepth ? g.k - begin : kDepth;
        const Weight* piece = panel + static_cast<int64_t>(begin) * kPanel;
        if constexpr (sizeof(Weight) == sizeof(float)) {
          SumRows(g.rows, g.a + begin, g.lda, piece, kPanel, kWidth, depth, begin == 0, sums);
        } else {
          Widen(piece, depth, widened);
          SumRows(g.rows, g.a + begin, g.lda, widened, kWidth, static_cast<int64_t>(depth) * kWidth, depth, begin == 0,
                  sums);
        }
      }
    }
    const float* bias = g.bias == nullptr ? nullptr : g.bias + static_cast<int64_t>(p) * kPanel;
    float* c = g.c + static_cast<int64_t>(p) * Epilogue::kColumns;
    for (int r = 0; r < g.rows; ++r) {
      Finish(sums + r * kPanel, bias, c + r * g.ldc, epilogue);
    }
  }
}

#include "worker/engine/cpu_pairs_impl.h"

template <typename Epilogue>
MG_INLINE void LinearWith(const LinearArgs& g, const Epilogue& epilogue) {
  if (g.type == WeightType::kBf16Pairs) {
    LinearPairs(g, epilogue);
  } else if (g.type == WeightType::kBf16) {
    LinearOver<uint16_t>(g, epilogue);
  } else {
    LinearOver<float>(g, epilogue);
  }
}

void Linear(const LinearArgs& args) { LinearWith(args, StoreRow{}); }
void LinearAdd(const LinearArgs& args, float scale) { LinearWith(args, AddRow{scale}); }
void LinearGated(const LinearArgs& args, Activation activation) {
  switch (activation) {
    case Activation::kSilu:
      return LinearWith(args, GatedRow<Activation::kSilu>{});
    case Activation::kGeluTanh:
      return LinearWith(args, GatedRow<Activation::kGeluTanh>{});
    case Activation::kGelu:
      return LinearWith(args, GatedRow<Activation::kGelu>{});
    case Activation::kRelu:
      return LinearWith(args, GatedRow<Activation::kRelu>{});
  }
}

void Add(const float* x, int64_t ldx, int rows, int width, float scale, float* c, int64_t ldc) {
  for (int r = 0; r < rows; ++r, x += ldx, c += ldc) {
    for (int i = 0; i < width; i += kLane) Store(c + i, Load(c + i) + Load(x + i) * scale);
  }
}

void Softcap(float* x, int n, float cap) {
  const Vec inverse = Splat(1.0f / cap);
  int i = 0;
  for (; i + kLane <= n; i += kLane) Store(x + i, Tanh(Load(x + i) * inverse) * cap);
  if (i == n) return;
  alignas(64) float rest[kLane] = {};
  for (int j = i; j < n; ++j) rest[j - i] = x[j];
  Store(rest, Tanh(Load(rest) * inverse) * cap);
  for (int j = i; j < n; ++j) x[j] = rest[j - i];
}

void RmsNorm(const float* x, int64_t ldx, int rows, int width, const float* weight, float eps, float* y, int64_t ldy) {
  for (int r = 0; r < rows; ++r, x += ldx, y += ldy) {
    Vec sum = Splat(0.0f);
    for (int i = 0; i < width; i += kLane) {
      const Vec v = Load(x + i);
      sum = sum + v * v;
    }
    const float scale = 1.0f / __builtin_sqrtf(Sum(sum) / static_cast<float>(width) + eps);
    for (int i = 0; i < width; i += kLane) Store(y + i, Load(x + i) * scale * Load(weight + i));
  }
}

void Rope(float* x, int heads, int64_t head_stride, int rotary, const float* cos, const float* sin) {
  const int half = rotary / 2;
  for (int h = 0; h < heads; ++h, x += head_stride) {
    int i = 0;
    for (; i + kLane <= half; i += kLane) {
      const Vec a = Load(x + i);
      const Vec b = Load(x + half + i);
      const Vec c = Load(cos + i);
      const Vec s = Load(sin + i);
      Store(x + i, a * c - b * s);
      Store(x + half + i, b * c + a * s);
    }
    for (; i < half; ++i) {
      const float a = x[i];
      const float b = x[half + i];
      x[i] = a * cos[i] - b * sin[i];
      x[half + i] = b * cos[i] + a * sin[i];
    }
  }
}

// Scores of kHeads query heads against the 16 keys of each of kBlocks blocks: enough sums side by side that none waits for
// the multiplication before it.
template <int kHeads, int kBlocks>
MG_INLINE void ScoreBlocks(const float* q, int head_dim, const float* keys, float scale, float* scores, int64_t stride) {
  Vec acc[kHeads][kBlocks];
#pragma GCC unroll 4
  for (int h = 0; h < kHeads; ++h) {
#pragma GCC unroll 4
    for (int b = 0; b < kBlocks; ++b) acc[h][b] = Splat(0.0f);
  }
  for (int d = 0; d < head_dim; ++d) {
#pragma GCC unroll 4
    for (int b = 0; b < kBlocks; ++b) {
      const Vec k = Load(keys + (static_cast<int64_t>(b) * head_dim + d) * kLane);
#pragma GCC unroll 4
      for (int h = 0; h < kHeads; ++h) MultiplyAdd(acc[h][b], k, q[h * head_dim + d]);
    }
  }
#pragma GCC unroll 4
  for (int h = 0; h < kHeads; ++h) {
#pragma GCC unroll 4
    for (int b = 0; b < kBlocks; ++b) Store(scores + h * stride + b * kLane, acc[h][b] * scale);
  }
}

// The part of a span that a query sees, and the whole blocks that hold it: positions, and what leads from them to rows.
struct SeenSpan {
  int begin, end, first, blocks_end, shift;
};
MG_INLINE SeenSpan Seen(const AttentionArgs& g, int span, int begin, int end) {
  const PositionSpan& s = g.spans[span];
  SeenSpan seen;
  seen.begin = begin > s.position ? begin : s.position;
  seen.end = span + 1 < g.span_count && g.spans[span + 1].position < end ? g.spans[span + 1].position : end;
  if (seen.end < seen.begin) seen.end = seen.begin;
  seen.first = seen.begin / kLane * kLane;
  seen.blocks_end = seen.end == seen.begin ? seen.first : (seen.end + kLane - 1) / kLane * kLane;
  seen.shift = s.row - s.position;
  return seen;
}

// out[h] = sum over positions of p[h][position] * values[position] / sum[h], kColumns vectors of
// the head at a time. `p` has the blocks of the spans, one after the other.
template <int kHeads, int kColumns>
MG_INLINE void ValueBlock(const AttentionArgs& g, const float* p, int64_t stride, int column, int begin, int end,
                          const float* inverse, float* out) {
  Vec acc[kHeads][kColumns];
#pragma GCC unroll 4
  for (int h = 0; h < kHeads; ++h) {
#pragma GCC unroll 4
    for (int c = 0; c < kColumns; ++c) acc[h][c] = Splat(0.0f);
  }
  for (int span = 0; span < g.span_count; ++span) {
    const SeenSpan seen = Seen(g, span, begin, end);
    const float* at = p - seen.first;
    for (int j = seen.begin; j < seen.end; ++j) {
      const float* v = g.values + static_cast<int64_t>(j + seen.shift) * g.head_dim + column;
#pragma GCC unroll 4
      for (int c = 0; c < kColumns; ++c) {
        const Vec x = Load(v + c * kLane);
#pragma GCC unroll 4
        for (int h = 0; h < kHeads; ++h) MultiplyAdd(acc[h][c], x, at[h * stride + j]);
      }
    }
    p += seen.blocks_end - seen.first;
  }
#pragma GCC unroll 4
  for (int h = 0; h < kHeads; ++h) {
#pragma GCC unroll 4
    for (int c = 0; c < kColumns; ++c) Store(out + h * g.head_dim + c * kLane, acc[h][c] * inverse[h]);
  }
}

// kHeads heads of one query row over the positions [begin, end).
template <int kHeads>
MG_INLINE void AttendHeads(const AttentionArgs& g, const float* q, int begin, int end, float* out) {
  constexpr float kLowest = -3.0e38f;
  constexpr int kBlocks = kHeads <= 2 ? 2 : 1;  // of keys at a time
  int count = 0;                                // of scores: whole blocks
  for (int span = 0; span < g.span_count; ++span) {
    const SeenSpan seen = Seen(g, span, begin, end);
    count += seen.blocks_end - seen.first;
  }
  const int64_t stride = count;
  float* scores = g.scores;
  for (int span = 0; span < g.span_count; ++span) {
    const SeenSpan seen = Seen(g, span, begin, end);
    const float* keys = g.keys + static_cast<int64_t>(seen.first + seen.shift) * g.head_dim;
    int blocks = (seen.blocks_end - seen.first) / kLane;
    for (; blocks >= kBlocks; blocks -= kBlocks, keys += kBlocks * kLane * g.head_dim, scores += kBlocks * kLane) {
      ScoreBlocks<kHeads, kBlocks>(q, g.head_dim, keys, g.scale, scores, stride);
    }
    for (; blocks > 0; --blocks, keys += kLane * g.head_dim, scores += kLane) {
      ScoreBlocks<kHeads, 1>(q, g.head_dim, keys, g.scale, scores, stride);
    }
  }
  float inverse[kHeads];
  for (int h = 0; h < kHeads; ++h) {
    float* s = g.scores + h * stride;
    if (g.softcap > 0) Softcap(s, count, g.softcap);
    float* blocks = s;
    for (int span = 0; span < g.span_count; ++span) {
      const SeenSpan seen = Seen(g, span, begin, end);
      for (int j = seen.first; j < seen.begin; ++j) blocks[j - seen.first] = kLowest;
      for (int j = seen.end; j < seen.blocks_end; ++j) blocks[j - seen.first] = kLowest;
      blocks += seen.blocks_end - seen.first;
    }
    Vec max = Load(s);
    for (int j = kLane; j < count; j += kLane) max = Max(max, Load(s + j));
    const Vec top = Splat(MaxOf(max));
    Vec sum = Splat(0.0f);
    for (int j = 0; j < count; j += kLane) {
      const Vec e = Exp(Load(s + j) - top);
      Store(s + j, e);
      sum = sum + e;
    }
    inverse[h] = 1.0f / Sum(sum);
  }
  int d = 0;
  for (; d + 2 * kLane <= g.head_dim; d += 2 * kLane) {
    ValueBlock<kHeads, 2>(g, g.scores, stride, d, begin, end, inverse, out + d);
  }
  if (d < g.head_dim) ValueBlock<kHeads, 1>(g, g.scores, stride, d, begin, end, inverse, out + d);
}

void Attention(const AttentionArgs& args) {
  const PositionSpan whole;
  AttentionArgs g = args;
  if (g.spans == nullptr) {
    g.spans = &whole;
    g.span_count = 1;
  }
  for (int r = 0; r < g.rows; ++r) {
    const int end = g.position + r + 1;
    const int begin = end > g.window ? end - g.window : 0;
    const float* q = g.q + r * g.ldq;
    float* out = g.out + r * g.ldo;
    int h = 0;
    for (; h + 4 <= g.group; h += 4) AttendHeads<4>(g, q + h * g.head_dim, begin, end, out + h * g.head_dim);
    for (; h + 2 <= g.group; h += 2) AttendHeads<2>(g, q + h * g.head_dim, begin, end, out + h * g.head_dim);
    for (; h < g.group; ++h) AttendHeads<1>(g, q + h * g.head_dim, begin, end, out + h * g.head_dim);
  }
}

void ReduceLogits(const float* logits, int n, int base, float* max, int* argmax, double* sum) {
  const int whole = n / kLane * kLane;
  float top = whole > 0 ? logits[0] : *max;
  if (whole > 0) {
    Vec m = Load(logits);
    for (int i = kLane; i < whole; i += kLane) m = Max(m, Load(logits + i));
    top = MaxOf(m);
  }
  for (int i = whole; i < n; ++i) top = logits[i] > top ? logits[i] : top;
  const float before = *max;
  if (top > before) {
    for (int i = 0; i < n; ++i) {
      if (logits[i] == top) {
        *argmax = base + i;
        break;
      }
    }
    *max = top;
  }
  if (sum == nullptr) return;
  // The sum so far was relative to the old maximum.
  const Vec reference = Splat(*max);
  double total = *sum == 0.0 ? 0.0 : *sum * __builtin_exp(static_cast<double>(before) - static_cast<double>(*max));
  for (int i = 0; i < whole; i += kLane) {
    alignas(64) float e[kLane];
    Store(e, Exp(Load(logits + i) - reference));
    for (int j = 0; j < kLane; ++j) total += e[j];
  }
  for (int i = whole; i < n; ++i) total += __builtin_exp(static_cast<double>(logits[i] - *max));
  *sum = total;
}

}  // namespace

extern const CpuKernels kKernels;
const CpuKernels kKernels = {MG_KERNEL_NAME, kMultipliesBf16, Linear,  LinearAdd,   LinearGated, Add, RmsNorm,
                             Rope,           Attention,       Softcap, ReduceLogits};

}  // namespace merganser::MG_KERNEL_NAMESPACE
