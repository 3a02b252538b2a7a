// `temporal_embed` where a workgroup is one vector register.
#include "cpu/lanes.wgsl"
#include "temporal_embed.wgsl"
