// out = layer_norm(x) · (1 + scale) + shift, with sums through workgroup memory.
#include "common/sum.wgsl"
#include "common/modulate.wgsl"
