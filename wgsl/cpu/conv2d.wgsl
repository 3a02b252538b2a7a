// out = conv(x) + bias + add, for software adapters, which run shaders on the processor.
#include "common/conv_operands.wgsl"
#include "cpu/matmul.wgsl"
