// out = epilogue(x · wᵀ + bias), for software adapters, which run shaders on the processor.
#include "common/linear_operands.wgsl"
#include "cpu/matmul.wgsl"
