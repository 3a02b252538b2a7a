// cur = modulate(x); partials = (Σ|cur − signal|, Σ|signal|); signal = cur, with sums through workgroup memory.
#include "common/sum.wgsl"
#include "common/modulate_rel_l1.wgsl"
