// Matrix products over bf16 pairs (WeightType::kBf16Pairs): a part of cpu_kernels_impl.h, included within its namespace.

// The bits of `x` as bf16, rounded to the nearest and ties to even. Infinities stay by themselves.
MG_INLINE unsigned Bf16Bits(float x) {
  const unsigned bits = __builtin_bit_cast(unsigned, x);
  const bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
  return nan ? (bits >> 16) | 0x40u : (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
}

#if defined(__AVX512BF16__)
constexpr bool kMultipliesBf16 = true;

// The first k of `from` as bf16, two a number of `to`, the last half 0 where k is odd.
MG_INLINE void RoundToPairs(const float* from, int k, int* to) {
  typedef unsigned BitsUnaligned __attribute__((vector_size(kNative * 4), aligned(4), may_alias));
  typedef uint16_t Narrow __attribute__((vector_size(kNative * 2)));
  char* const out = reinterpret_cast<char*>(to);
  int i = 0;
  for (; i + kNative <= k; i += kNative) {
    const NativeBits bits = *reinterpret_cast<const BitsUnaligned*>(from + i);
    const NativeBits rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    const NativeBits nan = (bits >> 16) | 0x40u;
    *reinterpret_cast<NarrowUnaligned*>(out + i * 2) =
        __builtin_convertvector((bits & 0x7fffffffu) > 0x7f800000u ? nan : rounded, Narrow);
  }
  for (; i < k + k % 2; ++i) {
    const auto half = static_cast<uint16_t>(i < k ? Bf16Bits(from[i]) : 0);
    __builtin_memcpy(out + i * 2, &half, sizeof half);
  }
}

// sums[r] (32 columns) of kRows rows over `pairs` pairs of weights; `first`: they start at zero. Rows of `a` are
// `stride` pairs apart.
template <int kRows>
MG_INLINE void SumPairBlock(const int* a, int64_t stride, const uint16_t* w, int pairs, bool first, float* sums) {
  Native acc[kRows][2];
#pragma GCC unroll 12
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < 2; ++v) {
      acc[r][v] = first ? (Native){} : *reinterpret_cast<const NativeUnaligned*>(sums + r * kPanel + v * kLane);
    }
  }
  for (int i = 0; i < pairs; ++i) {
    NativeInt x[2];
#pragma GCC unroll 2
    for (int v = 0; v < 2; ++v) __builtin_memcpy(&x[v], w + i * 2 * kPanel + v * 2 * kLane, sizeof(x[v]));
#pragma GCC unroll 12
    for (int r = 0; r < kRows; ++r) {
      const NativeInt y = a[r * stride + i] - (NativeInt){};
#pragma GCC unroll 2
      for (int v = 0; v < 2; ++v) asm("vdpbf16ps %2, %1, %0" : "+v"(acc[r][v]) : "v"(x[v]), "v"(y));
    }
  }
#pragma GCC unroll 12
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < 2; ++v) *reinterpret_cast<NativeUnaligned*>(sums + r * kPanel + v * kLane) = acc[r][v];
  }
}

template <int kRows>
struct PairRows {
  static void Sum(int rows, const int* a, int64_t stride, const uint16_t* w, int pairs, bool first, float* sums) {
    if (rows == kRows) {
      SumPairBlock<kRows>(a, stride, w, pairs, first, sums);
    } else {
      PairRows<kRows - 1>::Sum(rows, a, stride, w, pairs, first, sums);
    }
  }
};
template <>
struct PairRows<0> {
  static void Sum(int, const int*, int64_t, const uint16_t*, int, bool, float*) {}
};

__attribute__((noinline)) void SumPairs(int rows, const int* a, int64_t stride, const uint16_t* w, int pairs, bool first,
                                        float* sums) {
  int r = 0;
  for (; r + kRowsMax <= rows; r += kRowsMax) {
    SumPairBlock<kRowsMax>(a + r * stride, stride, w, pairs, first, sums + r * kPanel);
  }
  PairRows<kRowsMax - 1>::Sum(rows - r, a + r * stride, stride, w, pairs, first, sums + r * kPanel);
}

template <typename Epilogue>
MG_INLINE void LinearPairs(const LinearArgs& g, const Epilogue& epilogue) {
  const int pairs = (g.k + 1) / 2;
  float* const sums = g.scratch;
  int* const narrow = reinterpret_cast<int*>(g.scratch + LinearScratch(g.rows));
  for (int r = 0; r < g.rows; ++r) RoundToPairs(g.a + r * g.lda, g.k, narrow + static_cast<int64_t>(r) * pairs);
  for (int p = g.panel_begin; p < g.panel_end; ++p) {
    const uint16_t* panel = static_cast<const uint16_t*>(g.weight) + static_cast<int64_t>(p) * pairs * 2 * kPanel;
    // With more rows than one block a piece of the panel stays in the first-level cache while they pass over it.
    const int step = g.rows <= kRowsMax ? pairs : kDepth / 2;
    for (int begin = 0; begin < pairs; begin += step) {
      const int depth = pairs - begin < step ? pairs - begin : step;
      SumPairs(g.rows, narrow + begin, pairs, panel + static_cast<int64_t>(begin) * 2 * kPanel, depth, begin == 0, sums);
    }
    const float* bias = g.bias == nullptr ? nullptr : g.bias + static_cast<int64_t>(p) * kPanel;
    float* c = g.c + static_cast<int64_t>(p) * Epilogue::kColumns;
    for (int r = 0; r < g.rows; ++r) Finish(sums + r * kPanel, bias, c + r * g.ldc, epilogue);
  }
}

#else
constexpr bool kMultipliesBf16 = false;

// Widens `depth` rows of a panel of pairs as Widen does; `depth` may be rounded up to whole pairs.
MG_INLINE void WidenPairs(const uint16_t* w, int depth, float* out) {
  typedef unsigned BitsUnaligned __attribute__((vector_size(kNative * 4), aligned(2), may_alias));
  constexpr int kWidth = kVectors * kLane;
  for (int half = 0; half < kHalves; ++half) {
    float* to = out + half * depth * kWidth;
    for (int i = 0; i < depth; i += 2) {
      for (int column = 0; column < kWidth; column += kNative) {
        const uint16_t* from = w + i * kPanel + 2 * (half * kWidth + column);
        const NativeBits bits = *reinterpret_cast<const BitsUnaligned*>(from);
        *reinterpret_cast<NativeUnaligned*>(to + i * kWidth + column) = (Native)(bits << 16);
        *reinterpret_cast<NativeUnaligned*>(to + (i + 1) * kWidth + column) = (Native)(bits & 0xffff0000u);
      }
    }
  }
}

// The same numbers with instructions that have no bf16, so that every processor can do it.
template <typename Epilogue>
MG_INLINE void LinearPairs(const LinearArgs& g, const Epilogue& epilogue) {
  const int even = (g.k + 1) / 2 * 2;
  float* const sums = g.scratch;
  float* const widened = g.scratch + static_cast<int64_t>(g.rows) * kPanel;
  float* const rounded = g.scratch + LinearScratch(g.rows);
  constexpr int kWidth = kVectors * kLane;
  for (int r = 0; r < g.rows; ++r) {
    const float* from = g.a + r * g.lda;
    float* to = rounded + static_cast<int64_t>(r) * even;
    for (int i = 0; i < g.k; ++i) to[i] = __builtin_bit_cast(float, Bf16Bits(from[i]) << 16);
    if (even > g.k) to[g.k] = 0.0f;
  }
  for (int p = g.panel_begin; p < g.panel_end; ++p) {
    const uint16_t* panel = static_cast<const uint16_t*>(g.weight) + static_cast<int64_t>(p) * even * kPanel;
    for (int begin = 0; begin < even; begin += kDepth) {
      const int depth = even - begin < kDepth ? even - begin : kDepth;
      WidenPairs(panel + static_cast<int64_t>(begin) * kPanel, depth, widened);
      SumRows(g.rows, rounded + begin, even, widened, kWidth, static_cast<int64_t>(depth) * kWidth, depth, begin == 0, sums);
    }
    const float* bias = g.bias == nullptr ? nullptr : g.bias + static_cast<int64_t>(p) * kPanel;
    float* c = g.c + static_cast<int64_t>(p) * Epilogue::kColumns;
    for (int r = 0; r < g.rows; ++r) Finish(sums + r * kPanel, bias, c + r * g.ldc, epilogue);
  }
}
#endif
