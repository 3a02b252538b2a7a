// pair = (Σ|v − v"|·Σ|x − x'|, Σ|x − x"|·Σ|v|) from the partial sums of each. One block.
#include "common.cuh"

struct Params {
    u32 partials;
};

constexpr u32 THREADS = 256;

extern "C" __global__ void __launch_bounds__(THREADS)
    easy_distance(f32 *__restrict__ pair, const f32 *__restrict__ moved, const f32 *__restrict__ inputs,
                  const f32 *__restrict__ outputs, const f32 *__restrict__ sizes, Params p, const u32 *flag,
                  u32 want) {
    __shared__ double scratch[4][THREADS / 32];
    if (gated_off(flag, want)) {
        return;
    }
    double sums[4] = {};
    for (u32 i = threadIdx.x; i < p.partials; i += THREADS) {
        sums[0] += outputs[2 * i];
        sums[1] += moved[2 * i];
        sums[2] += inputs[2 * i];
        // The size of what did not move stands in the second column.
        sums[3] += sizes[2 * i + 1];
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
        sums[i] = block_sum(sums[i], scratch[i]);
    }
    if (threadIdx.x == 0) {
        pair[0] = static_cast<float>(sums[0] * sums[1]);
        pair[1] = static_cast<float>(sums[2] * sums[3]);
    }
}
