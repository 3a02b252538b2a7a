// partials[run] = (Σ|(out − in) − kept|, Σ|kept|). One run of the elements per block.
#include "common.cuh"

struct Params {
    u32 elements, runs;
};

constexpr u32 THREADS = 512;

extern "C" __global__ void __launch_bounds__(THREADS)
    residual_distance(f32 *__restrict__ partials, const f32 *__restrict__ out, const f32 *__restrict__ in,
                      const f32 *__restrict__ kept, Params p, const u32 *flag, u32 want) {
    __shared__ double scratch[2][THREADS / 32];
    if (gated_off(flag, want)) {
        return;
    }
    const u32 run = blockIdx.x, end = share(p.elements, p.runs, run + 1);
    double change = 0.0, size = 0.0;
    for (u32 at = share(p.elements, p.runs, run) + threadIdx.x; at < end; at += THREADS) {
        const float was = kept[at];
        change += fabsf((out[at] - in[at]) - was);
        size += fabsf(was);
    }
    change = block_sum(change, scratch[0]);
    size = block_sum(size, scratch[1]);
    if (threadIdx.x == 0) {
        partials[2 * run] = static_cast<float>(change);
        partials[2 * run + 1] = static_cast<float>(size);
    }
}
