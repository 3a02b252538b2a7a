// out = epilogue(x · wᵀ + bias), for a processor that poses as a GPU.
#include "common/linear_operands.wgsl"
#include "cpu/matmul.wgsl"
