// `axpby` where a workgroup is one vector register.
#include "cpu/lanes.wgsl"
#include "axpby.wgsl"
