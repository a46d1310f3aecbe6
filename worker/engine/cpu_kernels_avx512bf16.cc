#define MG_KERNEL_NAMESPACE kernels_avx512bf16
#define MG_KERNEL_NAME "avx512bf16"
#include "worker/engine/cpu_kernels_impl.h"
