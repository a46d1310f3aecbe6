#define Eigen EigenPortable
#define MG_KERNELS kPortableKernels
#define MG_KERNELS_NAME "portable"
#include "coordinator/optimizer/dense_kernels_inl.h"
