// out = epilogue(x · wᵀ + bias), in tiles that pass through workgroup memory.
#include "common/linear_operands.wgsl"
#include "common/matmul.wgsl"
