// d = Σ changes / Σ sizes; sum += f(d); skip this step while the sum stays below the threshold
//
// Try it: steep try starter.cu
// expect: flag: element 0 is
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

// A row of the trace: d, f(d), the sum, the decision (0 skipped, 1 computed, 2 forced).
extern "C" __global__ void tea_gate(u32 *decision, f32 *state, f32 *trace, const f32 *partials, Params p, Gate gate) {
    __shared__ float scratch[2][THREADS / 32];
    if (gated_off(gate)) {
        return;
    }
    float change = 0.0f, size = 0.0f;
    // Yours: the sums of partials[2·i] and partials[2·i + 1], by all threads; at step 0 there is nothing to compare with.
    change = block_sum(change, scratch[0]);
    size = block_sum(size, scratch[1]);
    if (threadIdx.x > 0) {
        return;
    }
    // Yours: trace[4·step] to trace[4·step + 3], *decision (1: compute), state[0] (the sum) and state[1] (1: a step was
    // computed). finite(x), not_a_number().
}
