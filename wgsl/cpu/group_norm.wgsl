// out = group_norm(x), then SiLU, for software adapters: a workgroup is a vector register.
#include "cpu/lanes.wgsl"
#include "cpu/sum.wgsl"
#include "common/group_norm.wgsl"
