// x[b, f, n, :] += table[f, :]: tells frames apart before the first temporal block. One row per block.
#include "common.cuh"

struct Params {
    u32 frames, tokens, dim, rows;
};

template <bool VECTOR>
DEVICE void add_row(f32 *x, const f32 *table, u32 n) {
    for (u32 at = 4 * threadIdx.x; at < n; at += 4 * blockDim.x) {
        float a[4], b[4];
        load<VECTOR>(x, at, n, a);
        load<VECTOR>(table, at, n, b);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            a[i] += b[i];
        }
        store<VECTOR>(x, at, n, a);
    }
}

extern "C" __global__ void __launch_bounds__(128)
    temporal_embed(f32 *__restrict__ x, const f32 *__restrict__ table, Params p, Gate gate) {
    if (gated_off(gate)) {
        return;
    }
    const u32 row = blockIdx.x;
    x += static_cast<u64>(row) * p.dim;
    table += static_cast<u64>(row / p.tokens % p.frames) * p.dim;
    if (p.dim % 4 == 0) {
        add_row<true>(x, table, p.dim);
    } else {
        add_row<false>(x, table, p.dim);
    }
}
