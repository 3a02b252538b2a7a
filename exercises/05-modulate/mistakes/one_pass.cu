// expect: out: NMSE 
// The variance as E[x²] − E[x]²: two large numbers, whose difference has lost its digits.
// steep: tile = 1, 1, 8
// steep: threads = 256
#include "common.cuh"

struct Params {
    u32 rows, dim, rows_per_sample, mods_columns, shift_at, scale_at;
    f32 epsilon;
};

// Σ over the 32 lanes of a warp, known to all of them: after the first step each lane has the sum of two, then of four.
DEVICE float over_warp(float x) {
    for (int lanes = 16; lanes > 0; lanes /= 2) {
        x += __shfl_xor_sync(0xffffffffu, x, lanes);
    }
    return x;
}

extern "C" __global__ void modulate(T *out, const f32 *x, const f32 *mods, Params p, Gate gate) {
    if (gated_off(gate)) {
        return;
    }
    const u32 row = blockIdx.x * 8 + threadIdx.x / 32, lane = threadIdx.x % 32;
    // A whole warp goes, and nobody waits for it: there is no barrier.
    if (row >= p.rows) {
        return;
    }
    x += row * p.dim;
    out += row * p.dim;
    mods += row / p.rows_per_sample * p.mods_columns;
    float sum = 0.0f, squares = 0.0f;
    for (u32 i = lane; i < p.dim; i += 32) {
        sum += x[i];
        squares = fmaf(x[i], x[i], squares);
    }
    const float mean = over_warp(sum) / p.dim;
    const float inverse_deviation = 1.0f / sqrtf(over_warp(squares) / p.dim - mean * mean + p.epsilon);
    for (u32 i = lane; i < p.dim; i += 32) {
        const float normal = (x[i] - mean) * inverse_deviation;
        put(out[i], fmaf(normal, 1.0f + mods[p.scale_at + i], mods[p.shift_at + i]));
    }
}
