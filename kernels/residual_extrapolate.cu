// out = in + R + ahead·(R − R'), ahead = (step − last)/(last − earlier) of the last two steps that computed: a
// skipped step's stand-in, which carries on the residual's change. Eight elements per thread.
#include "common.cuh"

struct Params {
    u32 elements, step;
};

/// The last step before `end` that computed, or `end` where there is none.
DEVICE u32 computed(const f32 *trace, u32 end) {
    for (u32 i = end; i > 0; i--) {
        if (trace[4 * (i - 1) + 3] != 0.0f) {
            return i - 1;
        }
    }
    return end;
}

template <bool VECTOR>
DEVICE void extrapolate8(f32 *out, const f32 *in, const f32 *residual, const f32 *before, float ahead, u32 at, u32 n) {
    float a[8], r[8], b[8];
    load8<VECTOR>(in, at, n, a);
    load8<VECTOR>(residual, at, n, r);
    load8<VECTOR>(before, at, n, b);
#pragma unroll
    for (int i = 0; i < 8; i++) {
        a[i] += fmaf(ahead, r[i] - b[i], r[i]);
    }
    store8<VECTOR>(out, at, n, a);
}

extern "C" __global__ void __launch_bounds__(256)
    residual_extrapolate(f32 *__restrict__ out, const f32 *__restrict__ stack_in,
                         const f32 *__restrict__ residual, const f32 *__restrict__ before,
                         const f32 *__restrict__ trace, Params p, Gate gate) {
    if (gated_off(gate)) {
        return;
    }
    const u32 last = computed(trace, p.step), earlier = computed(trace, last);
    const float ahead = last == p.step || earlier == last
                            ? 0.0f
                            : static_cast<float>(p.step - last) / static_cast<float>(last - earlier);
    const u32 at = 8 * (blockIdx.x * blockDim.x + threadIdx.x);
    if (at + 8 <= p.elements) {
        extrapolate8<true>(out, stack_in, residual, before, ahead, at, p.elements);
    } else if (at < p.elements) {
        extrapolate8<false>(out, stack_in, residual, before, ahead, at, p.elements);
    }
}
