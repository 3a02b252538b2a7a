// partials[r] = (Σ|cur − prev|, Σ|prev|) over the r-th share; prev = cur, with sums through workgroup memory.
#include "common/sum.wgsl"
#include "common/rel_l1.wgsl"
