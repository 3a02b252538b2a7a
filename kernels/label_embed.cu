// c = time + table[label] and act = SiLU(c). One row per block; labels past the table mean its last row.
#include "common.cuh"

struct Params {
    u32 dim, rows, batch;
};

template <bool VECTOR>
DEVICE void embed_row(f32 *c, T *act, const f32 *time, const f32 *table, u32 n) {
    for (u32 at = 4 * threadIdx.x; at < n; at += 4 * blockDim.x) {
        float a[4], b[4];
        load<VECTOR>(time, at, n, a);
        load<VECTOR>(table, at, n, b);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            a[i] += b[i];
            b[i] = silu(a[i]);
        }
        store<VECTOR>(c, at, n, a);
        store<VECTOR>(act, at, n, b);
    }
}

extern "C" __global__ void __launch_bounds__(128)
    label_embed(f32 *__restrict__ c, T *__restrict__ act, const f32 *__restrict__ time,
                const f32 *__restrict__ table, const u32 *__restrict__ labels, Params p, Gate gate) {
    if (gated_off(gate)) {
        return;
    }
    const u32 b = blockIdx.x, label = min(labels[b], p.rows - 1);
    const u64 row = static_cast<u64>(b) * p.dim;
    table += static_cast<u64>(label) * p.dim;
    if (p.dim % 4 == 0) {
        embed_row<true>(c + row, act + row, time + row, table, p.dim);
    } else {
        embed_row<false>(c + row, act + row, time + row, table, p.dim);
    }
}
