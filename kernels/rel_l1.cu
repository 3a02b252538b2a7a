// partials[run] = (Σ|cur − prev|, Σ|prev|), then prev = cur, in one pass. One run of the elements per block.
#include "common.cuh"

struct Params {
    u32 elements, runs;
};

// Elements of one access of 16 bytes.
constexpr u32 N = 16 / sizeof(T), THREADS = 512, STEP = N * THREADS;

/// COUNT times N elements, a block's width apart: their sums, and prev = cur. All loads are under way
/// before the first is used. f32 within, f64 across: equal addends all round the same way, which few
/// additions in a row survive.
template <bool VECTOR, u32 COUNT>
DEVICE void step(T *prev, const T *cur, u32 at, u32 n, double &change, double &size) {
    float c[COUNT][N], p[COUNT][N];
#pragma unroll
    for (u32 j = 0; j < COUNT; j++) {
        load<VECTOR>(cur, at + j * STEP, n, c[j]);
        load<VECTOR>(prev, at + j * STEP, n, p[j]);
    }
    float changes = 0.0f, sizes = 0.0f;
#pragma unroll
    for (u32 j = 0; j < COUNT; j++) {
        store<VECTOR>(prev, at + j * STEP, n, c[j]);
#pragma unroll
        for (u32 i = 0; i < N; i++) {
            c[j][i] = fabsf(c[j][i] - p[j][i]);
            p[j][i] = fabsf(p[j][i]);
        }
        changes += sum(c[j]);
        sizes += sum(p[j]);
    }
    change += changes;
    size += sizes;
}

extern "C" __global__ void __launch_bounds__(THREADS)
    rel_l1(T *__restrict__ prev, f32 *__restrict__ partials, const T *__restrict__ cur, Params p,
           Gate gate) {
    __shared__ double scratch[THREADS / 32][2];
    if (gated_off(gate)) {
        return;
    }
    const u32 run = blockIdx.x, n = p.elements;
    // Shares are runs of sixteen elements, and the last one takes what is left over.
    const u32 sixteens = n / 16 + (n % 16 != 0);
    const u32 begin = 16 * share(sixteens, p.runs, run), end = min(16 * share(sixteens, p.runs, run + 1), n);
    double change = 0.0, size = 0.0;
    u32 at = begin + N * threadIdx.x;
    for (; at + STEP + N <= end; at += 2 * STEP) {
        step<true, 2>(prev, cur, at, n, change, size);
    }
    for (; at + N <= end; at += STEP) {
        step<true, 1>(prev, cur, at, n, change, size);
    }
    if (at < end) {
        step<false, 1>(prev, cur, at, n, change, size);
    }
    block_sums(change, size, scratch);
    if (threadIdx.x == 0) {
        partials[2 * run] = static_cast<float>(change);
        partials[2 * run + 1] = static_cast<float>(size);
    }
}
