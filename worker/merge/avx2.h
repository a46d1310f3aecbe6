// MG_AVX2 is defined where functions for AVX2 and AVX-512 can be compiled; HasAvx2() and HasAvx512() (F, BW, DQ and VL) say
// whether this machine runs them. For the few loops that compilers do not vectorise by themselves (multiversion.h); each has
// a plain twin that gives the same bits.
#ifndef MERGANSER_WORKER_MERGE_AVX2_H_
#define MERGANSER_WORKER_MERGE_AVX2_H_

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>

#define MG_AVX2 1
#define MG_TARGET_AVX2 __attribute__((target("avx2")))
#define MG_TARGET_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl")))

namespace merganser {

inline bool HasAvx2() {
  static const bool has = __builtin_cpu_supports("avx2") != 0;
  return has;
}

inline bool HasAvx512() {
  static const bool has = __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512bw") != 0 &&
                          __builtin_cpu_supports("avx512dq") != 0 && __builtin_cpu_supports("avx512vl") != 0;
  return has;
}

}  // namespace merganser
#endif

#endif  // MERGANSER_WORKER_MERGE_AVX2_H_
