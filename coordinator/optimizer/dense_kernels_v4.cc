#define Eigen EigenV4
#define MG_KERNELS kV4Kernels
#define MG_KERNELS_NAME "x86-64-v4"
#include "coordinator/optimizer/dense_kernels_inl.h"
