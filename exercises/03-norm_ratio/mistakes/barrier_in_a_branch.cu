// expect: deadlock: block
// Threads with nothing to add do not come to the barrier, at which the others wait for them.
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
    const u32 i = threadIdx.x, end = share(p.rows, p.runs, blockIdx.x + 1);
    float total = 0.0f;
    for (u32 row = share(p.rows, p.runs, blockIdx.x); row < end; row++) {
        float now = 0.0f, before = 0.0f;
        for (u32 j = i; j < p.dim; j += THREADS) {
            const float a = cur[row * p.dim + j], b = prev[row * p.dim + j];
            now = fmaf(a, a, now);
            before = fmaf(b, b, before);
        }
        terms[0][i] = now;
        terms[1][i] = before;
        __syncthreads();
        for (u32 half = THREADS / 2; i < half; half /= 2) {
            terms[0][i] += terms[0][i + half];
            terms[1][i] += terms[1][i + half];
            __syncthreads(); // here
        }
        if (i == 0) {
            total += sqrtf(terms[0][0]) / sqrtf(terms[1][0]);
        }
        __syncthreads(); // here
    }
    if (i == 0) {
        partials[blockIdx.x] = total;
    }
}
