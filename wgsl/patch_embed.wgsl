// x = patches(z) · wᵀ + bias + pos, in tiles that pass through workgroup memory.
#include "common/patch_operands.wgsl"
#include "common/matmul.wgsl"
