// The inner loops of the fp32 decoder on CPU, compiled once per instruction set (AVX-512 with and without
// its bf16 products, AVX2 with FMA, baseline) and chosen at run time.
//
// Every kernel computes each row by itself and in one fixed order, so a row's result does not
// depend on the rows beside it, on the number of threads, or on how work was cut into pieces: batch
// composition cannot change a result by a bit.
//
// Layouts. Activations are fp32 and row-major; row strides count floats. Widths are padded with
// zeros to kLane, so kernels have no column tails. Weights are fp32 or bf16; a bf16 weight is widened
// before it is used, which is exact, so both give the same bits.
//   packed weight   [panel][k][kPanel]: panel p holds output columns p*kPanel .. p*kPanel+kPanel-1 of W^T. As bf16 pairs:
//                   [panel][(k + 1) / 2][kPanel][2], two values of k side by side, the last one zero where k is odd.
//   gate/up weight  the same, but a panel holds 16 gate columns and then the 16 up columns that go with them.
//   key cache       per (slot, kv head): [position/16][head_dim][16], so that 16 keys are scored by one multiply-add.
//   value cache     per (slot, kv head): [position][head_dim].
// Pointers of one call must not overlap unless a parameter says so. Threading: pure functions.
#ifndef MERGANSER_WORKER_ENGINE_CPU_KERNELS_H_
#define MERGANSER_WORKER_ENGINE_CPU_KERNELS_H_

#include <cstdint>

#include "worker/engine/position_span.h"

namespace merganser {

inline constexpr int kLane = 16;   // floats in one vector of the kernels, whatever the hardware's width
inline constexpr int kPanel = 32;  // output columns in one packed panel

// How the rows of a packed weight are stored, and what they are multiplied with.
enum class WeightType {
  kFp32,
  kBf16,
  // Pairs, for instructions that multiply bf16: activations are rounded to bf16 (to the nearest, ties to even) before
  // they are multiplied, and the products are summed in fp32. Twice the arithmetic per second where there are such
  // instructions, and no other kernel differs.
  kBf16Pairs,
};

inline constexpr int kDepth = 256;  // of a weight that is worked on at a time when there are many rows

// One weight matrix times some rows, restricted to the panels [panel_begin, panel_end).
struct LinearArgs {
  const float* a;  // [rows, lda], the first k columns are used
  int64_t lda;
  int rows;
  const void* weight;  // packed, all panels
  WeightType type;
  int k;
  int panel_begin;
  int panel_end;
  const float* bias;  // padded to whole panels in the weight's column order, or null
  float* c;           // [rows, ldc]
  int64_t ldc;
  float* scratch;  // workspace, LinearScratch floats; used by this call alone
};

// Floats needed at LinearArgs::scratch, with kBf16Pairs for weights of up to `k`.
inline int64_t LinearScratch(int rows) { return int64_t{rows + kDepth} * kPanel; }
inline int64_t PairsScratch(int rows, int k) { return LinearScratch(rows) + int64_t{rows} * (k + 1); }

// What a gated MLP does to its gate.
enum class Activation {
  kSilu,      // x / (1 + exp(-x))
  kGeluTanh,  // 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))
  kGelu,      // 0.5 x (1 + erf(x / sqrt(2)))
  kRelu,
};

// Attention of `rows` consecutive query rows of one sequence over one kv head and its `group` query
// heads.
struct AttentionArgs {
  const float* q;  // [rows, ldq]: the group's heads side by side, head_dim floats each
  int64_t ldq;
  int rows;
  int group;
  int head_dim;  // a multiple of kLane
  const float* keys;
  const float* values;
  int position;  // of the first row; row i sees the positions max(0, position+i-window+1) ..
                 // position+i
  int window;    // > 0
  float scale;
  float softcap;  // scores x become softcap * tanh(x / softcap) before the softmax; 0: they stay
  float* scores;  // workspace, AttentionWorkspace(group, position + rows) floats
  float* out;     // [rows, ldo], heads as in q; may not alias q
  int64_t ldo;
  // Where the positions lie in keys and values, from position 0 on; null: position i at i.
  const PositionSpan* spans = nullptr;
  int span_count = 0;
};

// Floats needed at AttentionArgs::scores for queries that see up to `positions` positions; with spans, positions rounded up
// to kLane span by span.
inline int64_t AttentionWorkspace(int group, int64_t positions) { return group * ((positions + kLane - 1) / kLane * kLane); }

struct CpuKernels {
  const char* name;
  bool multiplies_bf16;  // has instructions for WeightType::kBf16Pairs
  // c = a W^T + bias
  void (*linear)(const LinearArgs& args);
  // c = c + scale * (a W^T + bias)
  void (*linear_add)(const LinearArgs& args, float scale);
  // c = activation(gate) * up, for a gate/up weight; panel p writes columns p*16 .. p*16+15 of c.
  void (*linear_gated)(const LinearArgs& args, Activation activation);
  // c = c + scale * x over `width` columns.
  void (*add)(const float* x, int64_t ldx, int rows, int width, float scale, float* c, int64_t ldc);
  // y = x / sqrt(mean(x^2) + eps) * weight over `width` columns (the padding of x is zero); y may
  // be x.
  void (*rms_norm)(const float* x, int64_t ldx, int rows, int width, const float* weight, float eps, float* y, int64_t ldy);
  // Rotates `heads` heads of one row in place: halves of `rotary` floats, cos and sin of rotary/2
  // floats.
  void (*rope)(float* x, int heads, int64_t head_stride, int rotary, const float* cos, const float* sin);
  void (*attention)(const AttentionArgs& args);
  // x[i] = cap * tanh(x[i] / cap)
  void (*softcap)(float* x, int n, float cap);
  // Reads logits[0, n): *max and *argmax (first of equals, offset by `base`) and *sum =
  // sum(exp(logit - *max)) are carried from chunk to chunk; start with max = -infinity, sum = 0.
  // `sum` may be null.
  void (*reduce_logits)(const float* logits, int n, int base, float* max, int* argmax, double* sum);
};

// The best that this processor runs. The environment is not read; tests ask for a set by name.
const CpuKernels& BestCpuKernels();

// "avx512bf16", "avx512", "avx2" or "generic"; null if this processor cannot run it or the build has none.
const CpuKernels* FindCpuKernels(const char* name);

}  // namespace merganser

#endif  // MERGANSER_WORKER_ENGINE_CPU_KERNELS_H_
