// cur = layer_norm(x)·(1 + scale) + shift; partials[r] = (Σ|cur − signal|, Σ|signal|) over the r-th share of the rows;
// signal = cur: exercises 4 and 5 in one pass
//
// Try it: steep try starter.cu
// expect: change, size: element 0 is NaN
// steep: tile = 1, 1, 1
// steep: threads = 256
#include "common.cuh"

struct Params {
    u32 rows, dim, rows_per_sample, mods_columns, shift_at, scale_at, runs;
};

constexpr u32 WARPS = 8;

extern "C" __global__ void modulate_rel_l1(T *signal, f32 *partials, const f32 *x, const f32 *mods, Params p,
                                           Gate gate) {
    __shared__ double scratch[2][WARPS];
    if (gated_off(gate)) {
        return;
    }
    double change = 0.0, size = 0.0;
    const u32 end = share(p.rows, p.runs, blockIdx.x + 1);
    for (u32 row = share(p.rows, p.runs, blockIdx.x) + threadIdx.x / 32; row < end; row += WARPS) {
        // Yours: a row for this warp. warp_sum(x) is the sum over its lanes; rounded<T>(y) is y as T holds it.
    }
    change = block_sum(change, scratch[0]);
    size = block_sum(size, scratch[1]);
    // Yours: thread 0 has both sums now.
}
