// out = layer_norm(x) · (1 + scale) + shift, a row to a subgroup.
#include "subgroup/sum.wgsl"
#include "common/modulate.wgsl"
