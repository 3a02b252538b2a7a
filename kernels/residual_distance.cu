// partials[run] = (Σ|(out − in) − kept|, Σ|kept|): how far what a block added is from what it added once before.
// One run of the elements per block.
#include "common.cuh"

struct Params {
    u32 elements, runs;
};

constexpr u32 THREADS = 512, STEP = 4 * THREADS;

/// COUNT times four elements, a block's width apart. All loads are under way before the first is used. f32 within, f64
/// across: equal addends all round the same way.
template <bool VECTOR, u32 COUNT>
DEVICE void step(const f32 *out, const f32 *in, const f32 *kept, u32 at, u32 n, double &change, double &size) {
    float a[COUNT][4], b[COUNT][4], was[COUNT][4];
#pragma unroll
    for (u32 j = 0; j < COUNT; j++) {
        load<VECTOR>(out, at + j * STEP, n, a[j]);
        load<VECTOR>(in, at + j * STEP, n, b[j]);
        load<VECTOR>(kept, at + j * STEP, n, was[j]);
    }
    float changes = 0.0f, sizes = 0.0f;
#pragma unroll
    for (u32 j = 0; j < COUNT; j++) {
#pragma unroll
        for (u32 i = 0; i < 4; i++) {
            a[j][i] = fabsf((a[j][i] - b[j][i]) - was[j][i]);
            was[j][i] = fabsf(was[j][i]);
        }
        changes += sum(a[j]);
        sizes += sum(was[j]);
    }
    change += changes;
    size += sizes;
}

// Two blocks at a time: with registers for four, as the compiler would have it, a thread's loads do not all fit.
extern "C" __global__ void __launch_bounds__(THREADS, 2)
    residual_distance(f32 *__restrict__ partials, const f32 *__restrict__ block_out,
                      const f32 *__restrict__ block_in, const f32 *__restrict__ kept, Params p, Gate gate) {
    __shared__ double scratch[THREADS / 32][2];
    if (gated_off(gate)) {
        return;
    }
    const u32 run = blockIdx.x, n = p.elements;
    // Shares are runs of eight elements, and the last one takes what is left over.
    const u32 eights = n / 8 + (n % 8 != 0);
    const u32 begin = 8 * share(eights, p.runs, run), end = min(8 * share(eights, p.runs, run + 1), n);
    double change = 0.0, size = 0.0;
    u32 at = begin + 4 * threadIdx.x;
    for (; at + STEP + 4 <= end; at += 2 * STEP) {
        step<true, 2>(block_out, block_in, kept, at, n, change, size);
    }
    for (; at + 4 <= end; at += STEP) {
        step<true, 1>(block_out, block_in, kept, at, n, change, size);
    }
    if (at < end) {
        step<false, 1>(block_out, block_in, kept, at, n, change, size);
    }
    block_sums(change, size, scratch);
    if (threadIdx.x == 0) {
        partials[2 * run] = static_cast<float>(change);
        partials[2 * run + 1] = static_cast<float>(size);
    }
}
