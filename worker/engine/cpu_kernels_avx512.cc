#define MG_KERNEL_NAMESPACE kernels_avx512
#define MG_KERNEL_NAME "avx512"
#include "worker/engine/cpu_kernels_impl.h"
