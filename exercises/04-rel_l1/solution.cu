// partials[r] = (Σ|cur − prev|, Σ|prev|) over the r-th share of the elements, then prev = cur: a share to a block.
// steep: tile = 1, 1, 1
// steep: threads = 256
#include "common.cuh"

struct Params {
    u32 elements, runs;
};

constexpr u32 THREADS = 256;

extern "C" __global__ void rel_l1(T *prev, f32 *partials, const T *cur, Params p, Gate gate) {
    __shared__ double scratch[2][THREADS / 32];
    if (gated_off(gate)) {
        return;
    }
    const u32 end = share(p.elements, p.runs, blockIdx.x + 1);
    // f64: in f32, equal addends all round the same way, and a sum of ones stops at 2^24.
    double change = 0.0, size = 0.0;
    for (u32 i = share(p.elements, p.runs, blockIdx.x) + threadIdx.x; i < end; i += THREADS) {
        // Both are read before one is written, and an element is one thread's alone.
        const T next = cur[i];
        const float old = to_f32(prev[i]);
        prev[i] = next;
        change += fabsf(to_f32(next) - old);
        size += fabsf(old);
    }
    // Both sums in a fixed order: the same bits each time.
    change = block_sum(change, scratch[0]);
    size = block_sum(size, scratch[1]);
    if (threadIdx.x == 0) {
        partials[2 * blockIdx.x] = static_cast<float>(change);
        partials[2 * blockIdx.x + 1] = static_cast<float>(size);
    }
}
