// out = group_norm(x), then SiLU: sums in workgroup memory.
const WG = 256u;
#include "common/sum.wgsl"
#include "common/group_norm.wgsl"
