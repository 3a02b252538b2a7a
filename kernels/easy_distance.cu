// pair = (Σ|v − v"|·Σ|x − x'|, Σ|x − x"|·Σ|v|) from the partial sums of each: EasyCache's distance, for tea_gate
// to divide. One block.
#include "common.cuh"

struct Params {
    u32 partials;
};

constexpr u32 THREADS = 256;

extern "C" __global__ void __launch_bounds__(THREADS)
    easy_distance(f32 *__restrict__ pair, const f32 *__restrict__ moved, const f32 *__restrict__ inputs,
                  const f32 *__restrict__ outputs, const f32 *__restrict__ sizes, Params p, Gate gate) {
    __shared__ double scratch[2][THREADS / 32][2];
    if (gated_off(gate)) {
        return;
    }
    double output = 0.0, input = 0.0, change = 0.0, size = 0.0;
    for (u32 i = threadIdx.x; i < p.partials; i += THREADS) {
        output += outputs[2 * i];
        input += inputs[2 * i];
        change += moved[2 * i];
        // The size of what did not move stands in the second column.
        size += sizes[2 * i + 1];
    }
    block_sums(output, input, scratch[0]);
    block_sums(change, size, scratch[1]);
    if (threadIdx.x == 0) {
        pair[0] = static_cast<float>(output) * static_cast<float>(change);
        pair[1] = static_cast<float>(input) * static_cast<float>(size);
    }
}
