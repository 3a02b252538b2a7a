// partials[run] = Σ ‖cur[row]‖ / ‖prev[row]‖ over a run of rows: how the residuals of tokens grow or shrink. One
// run per block, one warp per row.
#include "common.cuh"

struct Params {
    u32 rows, dim, runs;
};

constexpr u32 WARPS = 8;

/// Σ x², a lane's part of a row.
template <bool VECTOR>
DEVICE float squares(const f32 *row, u32 n) {
    float total = 0.0f;
    for (u32 at = 4 * (threadIdx.x % 32); at < n; at += 4 * 32) {
        float x[4];
        load<VECTOR>(row, at, n, x);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            x[i] *= x[i];
        }
        total += sum(x);
    }
    return total;
}

template <bool VECTOR>
DEVICE double ratios(const f32 *cur, const f32 *prev, const Params &p) {
    double total = 0.0;
    const u32 end = share(p.rows, p.runs, blockIdx.x + 1);
    for (u32 row = share(p.rows, p.runs, blockIdx.x) + threadIdx.x / 32; row < end; row += WARPS) {
        const u64 at = static_cast<u64>(row) * p.dim;
        const float now = warp_sum(squares<VECTOR>(cur + at, p.dim));
        const float before = warp_sum(squares<VECTOR>(prev + at, p.dim));
        total += threadIdx.x % 32 == 0 ? sqrtf(now) / sqrtf(before) : 0.0f;
    }
    return total;
}

extern "C" __global__ void __launch_bounds__(32 * WARPS)
    norm_ratio(f32 *__restrict__ partials, const f32 *__restrict__ cur, const f32 *__restrict__ prev, Params p,
               Gate gate) {
    __shared__ double scratch[WARPS];
    if (gated_off(gate)) {
        return;
    }
    double total = p.dim % 4 == 0 ? ratios<true>(cur, prev, p) : ratios<false>(cur, prev, p);
    total = block_sum(total, scratch);
    if (threadIdx.x == 0) {
        partials[blockIdx.x] = static_cast<float>(total);
    }
}
