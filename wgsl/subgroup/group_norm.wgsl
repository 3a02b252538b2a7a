// out = group_norm(x), then SiLU: subgroups add up by themselves.
#include "subgroup/sum.wgsl"
#include "common/group_norm.wgsl"
