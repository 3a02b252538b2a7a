// out = in + (residual + ahead·(residual − before)), ahead = (step − last)/(last − earlier), of the last two steps that
// computed, as the trace tells. One element per thread.
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

extern "C" __global__ void __launch_bounds__(256)
    residual_extrapolate(f32 *__restrict__ out, const f32 *__restrict__ in, const f32 *__restrict__ residual,
                         const f32 *__restrict__ before, const f32 *__restrict__ trace, Params p, const u32 *flag,
                         u32 want) {
    if (gated_off(flag, want)) {
        return;
    }
    const u32 at = blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= p.elements) {
        return;
    }
    const u32 last = computed(trace, p.step), earlier = computed(trace, last);
    const bool two = last < p.step && earlier < last;
    const float ahead = two ? static_cast<float>(p.step - last) / static_cast<float>(last - earlier) : 0.0f;
    const float r = residual[at];
    out[at] = in[at] + fmaf(ahead, r - before[at], r);
}
