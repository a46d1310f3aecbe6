#include "worker/engine/cpu_kernels.h"

#include <cstring>
#include <initializer_list>

namespace merganser {

namespace kernels_generic {
extern const CpuKernels kKernels;
}
#ifdef MERGANSER_X86_KERNELS
namespace kernels_avx2 {
extern const CpuKernels kKernels;
}
namespace kernels_avx512 {
extern const CpuKernels kKernels;
}
namespace kernels_avx512bf16 {
extern const CpuKernels kKernels;
}
#endif

const CpuKernels* FindCpuKernels(const char* name) {
  if (std::strcmp(name, "generic") == 0) return &kernels_generic::kKernels;
#ifdef MERGANSER_X86_KERNELS
  if (std::strcmp(name, "avx2") == 0 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    return &kernels_avx2::kKernels;
  }
  if (std::strcmp(name, "avx512") == 0 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw")) {
    return &kernels_avx512::kKernels;
  }
  if (std::strcmp(name, "avx512bf16") == 0 && __builtin_cpu_supports("avx512bf16") && FindCpuKernels("avx512") != nullptr) {
    return &kernels_avx512bf16::kKernels;
  }
#endif
  return nullptr;
}

const CpuKernels& BestCpuKernels() {
  for (const char* name : {"avx512bf16", "avx512", "avx2"}) {
    if (const CpuKernels* kernels = FindCpuKernels(name)) return *kernels;
  }
  return kernels_generic::kKernels;
}

}  // namespace merganser
