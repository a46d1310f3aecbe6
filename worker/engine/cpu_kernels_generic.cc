#define MG_KERNEL_NAMESPACE kernels_generic
#define MG_KERNEL_NAME "generic"
#include "worker/engine/cpu_kernels_impl.h"
