// `modulate_rel_l1` where a workgroup is one vector register.
#include "cpu/lanes.wgsl"
#include "cpu/sum.wgsl"
#include "common/modulate_rel_l1.wgsl"
