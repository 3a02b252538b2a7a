// out = layer_norm(x)·(1 + scale) + shift
//
// Try it: steep try starter.cu
// expect: out: element 0 is NaN
// steep: tile = 1, 1, 8
// steep: threads = 256
#include "common.cuh"

struct Params {
    u32 rows, dim, rows_per_sample, mods_columns, shift_at, scale_at;
    f32 epsilon;
};

extern "C" __global__ void modulate(T *out, const f32 *x, const f32 *mods, Params p, Gate gate) {
    if (gated_off(gate)) {
        return;
    }
    const u32 row = blockIdx.x * 8 + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (row >= p.rows) {
        return;
    }
    x += row * p.dim;
    out += row * p.dim;
    mods += row / p.rows_per_sample * p.mods_columns;
    // Yours: a row for this warp. Shift begins at mods[p.shift_at], scale at mods[p.scale_at].
}
