// partials[r] = (Σ|cur − prev|, Σ|prev|) over the r-th share; prev = cur: a part of a share to a subgroup.
#include "subgroup/sum.wgsl"
#include "common/rel_l1.wgsl"
