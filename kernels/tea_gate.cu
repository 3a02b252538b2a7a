// TeaCache's decision where the data is: partial sums to a distance, rescaled, accumulated, compared. One
// block.
#include "common.cuh"

struct Params {
    u32 step, partials, forced, negative;
    f32 threshold, c4, c3, c2, c1, c0;
    u32 accumulates, max_skips;
    f32 lowest, highest; // distances that the coefficients are good for
};

enum Negative { RAW, CLAMP, ABS };

constexpr u32 THREADS = 1024;

/// Whether the steps before this one, back to the last computed one, are as many as may be skipped.
DEVICE bool full(const f32 *trace, const Params &p) {
    u32 skips = 0;
    for (u32 i = p.step; i > 0 && skips < p.max_skips && trace[4 * (i - 1) + 3] == 0.0f; i--) {
        skips++;
    }
    return skips >= p.max_skips;
}

extern "C" __global__ void __launch_bounds__(THREADS)
    tea_gate(u32 *__restrict__ decision, f32 *__restrict__ state, f32 *__restrict__ trace,
             const f32 *__restrict__ partials, Params p, Gate gate) {
    __shared__ float changes[THREADS], sizes[THREADS];
    if (gated_off(gate)) {
        return;
    }
    const u32 i = threadIdx.x;
    // The order of additions is the CPU executor's, so that both decide on the same number.
    float change = 0.0f, size = 0.0f;
    if (p.step > 0) {
        for (u32 at = i; at < p.partials; at += THREADS) {
            change += partials[2 * at];
            size += partials[2 * at + 1];
        }
    }
    changes[i] = change;
    sizes[i] = size;
    for (u32 width = THREADS / 2; width > 0; width /= 2) {
        __syncthreads();
        if (i < width) {
            changes[i] += changes[i + width];
            sizes[i] += sizes[i + width];
        }
    }
    if (i > 0) {
        return;
    }
    const float accumulated = state[0];
    const bool computed_before = state[1] != 0.0f;
    const float d = p.step == 0 ? not_a_number() : changes[0] / sizes[0];
    const float x = d < p.lowest ? p.lowest : d;
    const float f = fmaf(fmaf(fmaf(fmaf(p.c4, x, p.c3), x, p.c2), x, p.c1), x, p.c0);
    const bool measured = !p.forced && finite(d) && d <= p.highest && finite(f);
    const float counted = p.negative == CLAMP && f < 0.0f ? 0.0f : p.negative == ABS ? fabsf(f) : f;
    const float sum = accumulated + counted;
    const bool below = p.threshold > 0.0f && sum < p.threshold;
    const bool skip = measured && computed_before && below && !full(trace, p);
    trace += 4 * p.step;
    trace[0] = d;
    trace[1] = measured ? f : not_a_number();
    trace[2] = measured && finite(sum) ? sum : 0.0f;
    trace[3] = p.forced ? 2.0f : skip ? 0.0f : 1.0f;
    *decision = !skip;
    state[0] = skip && p.accumulates ? sum : 0.0f;
    state[1] = 1.0f;
}
