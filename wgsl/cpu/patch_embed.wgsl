// x = patches(z) · wᵀ + bias + pos, for a processor that poses as a GPU.
#include "common/patch_operands.wgsl"
#include "cpu/matmul.wgsl"
