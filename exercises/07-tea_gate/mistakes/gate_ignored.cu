// expect: gates: 
// A kernel that never looks at its gate: nothing turns it away, and nobody counts it.
// steep: tile = 1, 1, 1
// steep: threads = 128
#include "common.cuh"

struct Params {
    u32 step, partials, forced, negative;
    f32 threshold, c4, c3, c2, c1, c0;
    u32 accumulates, max_skips;
    f32 lowest, highest;
};

enum Negative { RAW, CLAMP, ABS };

constexpr u32 THREADS = 128;

// Whether the steps before this one, back to the last computed one, are as many as may be skipped.
DEVICE bool full(const f32 *trace, const Params &p) {
    u32 skips = 0;
    for (u32 i = p.step; i > 0 && skips < p.max_skips && trace[4 * (i - 1) + 3] == 0.0f; i--) {
        skips++;
    }
    return skips >= p.max_skips;
}

// A row of the trace: d, f(d), the sum, the decision (0 skipped, 1 computed, 2 forced).
extern "C" __global__ void tea_gate(u32 *decision, f32 *state, f32 *trace, const f32 *partials, Params p, Gate gate) {
    __shared__ float scratch[2][THREADS / 32];
    float change = 0.0f, size = 0.0f;
    // At step 0 the partial sums hold anything.
    if (p.step > 0) {
        for (u32 i = threadIdx.x; i < p.partials; i += THREADS) {
            change += partials[2 * i];
            size += partials[2 * i + 1];
        }
    }
    change = block_sum(change, scratch[0]);
    size = block_sum(size, scratch[1]);
    if (threadIdx.x > 0) {
        return;
    }
    const float d = p.step == 0 ? not_a_number() : change / size;
    // The polynomial, by Horner's rule; distances below those that it was fitted for count as the first of these.
    const float x = d < p.lowest ? p.lowest : d;
    const float f = fmaf(fmaf(fmaf(fmaf(p.c4, x, p.c3), x, p.c2), x, p.c1), x, p.c0);
    // NaN is neither finite nor at most `highest`: what is not known computes.
    const bool measured = !p.forced && finite(d) && d <= p.highest && finite(f);
    const float counted = p.negative == CLAMP ? fmaxf(f, 0.0f) : p.negative == ABS ? fabsf(f) : f;
    const float sum = state[0] + counted;
    const bool computed_before = state[1] != 0.0f;
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
