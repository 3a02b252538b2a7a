// cur = modulate(x); partials = (Σ|cur − signal|, Σ|signal|); signal = cur, a row to a subgroup.
#include "subgroup/sum.wgsl"
#include "common/modulate_rel_l1.wgsl"
