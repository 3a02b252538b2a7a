// expect: race: thread
// Eight elements to a thread, and a stride of seven: two threads move the same element of prev on.
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
    double change = 0.0, size = 0.0;
    for (u32 first = share(p.elements, p.runs, blockIdx.x) + 7 * threadIdx.x; first < end; first += 7 * THREADS) {
        for (u32 i = first; i < min(first + 8, end); i++) {
            const float old = to_f32(prev[i]); // here
            change += fabsf(to_f32(cur[i]) - old);
            size += fabsf(old);
            prev[i] = cur[i]; // here
        }
    }
    change = block_sum(change, scratch[0]);
    size = block_sum(size, scratch[1]);
    if (threadIdx.x == 0) {
        partials[2 * blockIdx.x] = static_cast<float>(change);
        partials[2 * blockIdx.x + 1] = static_cast<float>(size);
    }
}
