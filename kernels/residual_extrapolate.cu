// out = in + R + ahead·(R − R'), ahead = (step − last)/(last − earlier) of the last two steps that computed: a
// skipped step's stand-in, which carries on the residual's change. Four elements per thread.
#include "common.cuh"

struct Params {
    u32 elements, step;
};

/// The last step before `end` that computed, or `end` where there is none. A warp looks at 32 steps at a time: one after
/// the other, each would be waited for.
DEVICE u32 computed(const f32 *trace, u32 end) {
    for (u32 before = end; before > 0; before -= min(before, 32u)) {
        const u32 back = threadIdx.x % 32;
        const u32 found = __ballot_sync(0xffffffffu, back < before && trace[4 * (before - 1 - back) + 3] != 0.0f);
        if (found != 0) {
            return before - __ffs(found);
        }
    }
    return end;
}

/// Four elements of each operand: loaded before anybody knows how far ahead to look.
struct Loaded {
    float in[4], residual[4], before[4];
};

template <bool VECTOR>
DEVICE Loaded operands(const f32 *in, const f32 *residual, const f32 *before, u32 at, u32 n) {
    Loaded v;
    load<VECTOR>(in, at, n, v.in);
    load<VECTOR>(residual, at, n, v.residual);
    load<VECTOR>(before, at, n, v.before);
    return v;
}

extern "C" __global__ void __launch_bounds__(256)
    residual_extrapolate(f32 *__restrict__ out, const f32 *__restrict__ stack_in,
                         const f32 *__restrict__ residual, const f32 *__restrict__ before,
                         const f32 *__restrict__ trace, Params p, Gate gate) {
    if (gated_off(gate)) {
        return;
    }
    const u32 at = 4 * (blockIdx.x * blockDim.x + threadIdx.x), n = p.elements;
    const bool whole = at + 4 <= n;
    Loaded v = whole ? operands<true>(stack_in, residual, before, at, n) : operands<false>(stack_in, residual, before, at, n);
    const u32 last = computed(trace, p.step), earlier = computed(trace, last);
    const float ahead = last == p.step || earlier == last
                            ? 0.0f
                            : static_cast<float>(p.step - last) / static_cast<float>(last - earlier);
#pragma unroll
    for (int i = 0; i < 4; i++) {
        v.in[i] += fmaf(ahead, v.residual[i] - v.before[i], v.residual[i]);
    }
    if (whole) {
        store<true>(out, at, n, v.in);
    } else {
        store<false>(out, at, n, v.in);
    }
}
