#define MG_KERNEL_NAMESPACE kernels_avx2
#define MG_KERNEL_NAME "avx2"
#include "worker/engine/cpu_kernels_impl.h"
