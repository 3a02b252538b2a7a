// partials[r] = Σ ‖cur[row]‖ / ‖prev[row]‖ over the r-th share of the rows
//
// Try it: steep try starter.cu
// expect: ratio: element 0 is NaN
// steep: tile = 1, 1, 1
// steep: threads = 128
#include "common.cuh"

struct Params {
    u32 rows, dim, runs;
};

constexpr u32 THREADS = 128;

extern "C" __global__ void norm_ratio(f32 *partials, const f32 *cur, const f32 *prev, Params p, Gate gate) {
    __shared__ float terms[2][THREADS];
    if (gated_off(gate)) {
        return;
    }
    const u32 end = share(p.rows, p.runs, blockIdx.x + 1);
    for (u32 row = share(p.rows, p.runs, blockIdx.x); row < end; row++) {
        // Yours: Σ cur² and Σ prev² of the row, by all threads of the block.
        terms[0][threadIdx.x] = terms[1][threadIdx.x] = 0.0f;
    }
    // Yours: one thread writes partials[blockIdx.x].
}
