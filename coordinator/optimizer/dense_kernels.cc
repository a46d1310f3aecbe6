#include "coordinator/optimizer/dense_kernels.h"

namespace merganser {

extern const DenseKernels kPortableKernels;
#ifdef MG_X86_KERNELS
extern const DenseKernels kV3Kernels;
extern const DenseKernels kV4Kernels;
#endif

std::vector<const DenseKernels*> AllKernels() {
  std::vector<const DenseKernels*> all = {&kPortableKernels};
#ifdef MG_X86_KERNELS
  __builtin_cpu_init();
  // What -march=x86-64-v3 and -v4 may use.
  const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
                  __builtin_cpu_supports("bmi2");
  const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512vl");
  if (v3) all.push_back(&kV3Kernels);
  if (v4) all.push_back(&kV4Kernels);
#endif
  return all;
}

const DenseKernels& Kernels() {
  static const DenseKernels* const widest = AllKernels().back();
  return *widest;
}

}  // namespace merganser
