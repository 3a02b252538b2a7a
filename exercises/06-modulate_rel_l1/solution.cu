// cur = layer_norm(x)·(1 + scale) + shift; partials[r] = (Σ|cur − signal|, Σ|signal|) over the r-th share of the rows;
// signal = cur: a share to a block, a row to a warp at a time.
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
    const u32 lane = threadIdx.x % 32, end = share(p.rows, p.runs, blockIdx.x + 1);
    double change = 0.0, size = 0.0;
    for (u32 row = share(p.rows, p.runs, blockIdx.x) + threadIdx.x / 32; row < end; row += WARPS) {
        const f32 *const from = x + row * p.dim;
        const f32 *const sample = mods + row / p.rows_per_sample * p.mods_columns;
        T *const anchor = signal + row * p.dim;
        float sum = 0.0f, squares = 0.0f;
        for (u32 i = lane; i < p.dim; i += 32) {
            sum += from[i];
        }
        const float mean = warp_sum(sum) / p.dim;
        for (u32 i = lane; i < p.dim; i += 32) {
            const float deviation = from[i] - mean;
            squares = fmaf(deviation, deviation, squares);
        }
        const float inverse_deviation = 1.0f / sqrtf(warp_sum(squares) / p.dim + 1e-6f);
        for (u32 i = lane; i < p.dim; i += 32) {
            const float normal = (from[i] - mean) * inverse_deviation;
            const float y = fmaf(normal, 1.0f + sample[p.scale_at + i], sample[p.shift_at + i]);
            // All that the measurement costs is this read.
            const float old = to_f32(anchor[i]);
            put(anchor[i], y);
            // The next step finds the number as T holds it, so that is the one to compare.
            change += fabsf(rounded<T>(y) - old);
            size += fabsf(old);
        }
    }
    // All warps come here, also those without a row. A share without rows says 0.
    change = block_sum(change, scratch[0]);
    size = block_sum(size, scratch[1]);
    if (threadIdx.x == 0) {
        partials[2 * blockIdx.x] = static_cast<float>(change);
        partials[2 * blockIdx.x + 1] = static_cast<float>(size);
    }
}
