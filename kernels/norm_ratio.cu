// partials[run] = Σ ‖cur[row]‖ / ‖prev[row]‖ over the run's rows. One run per block, row by row.
#include "common.cuh"

struct Params {
    u32 rows, dim, runs;
};

constexpr u32 THREADS = 256;

extern "C" __global__ void __launch_bounds__(THREADS)
    norm_ratio(f32 *__restrict__ partials, const f32 *__restrict__ cur, const f32 *__restrict__ prev, Params p,
               const u32 *flag, u32 want) {
    __shared__ double scratch[2][THREADS / 32];
    if (gated_off(flag, want)) {
        return;
    }
    const u32 run = blockIdx.x, end = share(p.rows, p.runs, run + 1);
    double total = 0.0;
    for (u32 row = share(p.rows, p.runs, run); row < end; row++) {
        double a = 0.0, b = 0.0;
        for (u32 i = threadIdx.x; i < p.dim; i += THREADS) {
            const double x = cur[row * p.dim + i], y = prev[row * p.dim + i];
            a += x * x;
            b += y * y;
        }
        a = block_sum(a, scratch[0]);
        b = block_sum(b, scratch[1]);
        total += sqrt(a) / sqrt(b);
        __syncthreads();
    }
    if (threadIdx.x == 0) {
        partials[run] = static_cast<float>(total);
    }
}
