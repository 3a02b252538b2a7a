// A workgroup of a few vector registers: each has a stream of its own, which a prefetcher can follow.
const WG = 4u * LANES;
const WIDTH = LANES;
#include "common/sum.wgsl"
#include "common/rel_l1.wgsl"
