#define Eigen EigenV3
#define MG_KERNELS kV3Kernels
#define MG_KERNELS_NAME "x86-64-v3"
#include "coordinator/optimizer/dense_kernels_inl.h"
