// x = patches(z) · wᵀ + bias + pos, for software adapters, which run shaders on the processor.
#include "common/patch_operands.wgsl"
#include "cpu/matmul.wgsl"
