// out = conv(x) + bias + add, in tiles that pass through workgroup memory.
#include "common/conv_operands.wgsl"
#include "common/matmul.wgsl"
