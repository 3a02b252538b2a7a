// expect: other bits the second time
// The order in which atomic additions happen is nobody's, and so are the last bits of their sum.
// steep: tile = 1, 1, 1
// steep: threads = 256
#include "common.cuh"

struct Params {
    u32 elements, runs;
};

constexpr u32 THREADS = 256;

extern "C" __global__ void rel_l1(T *prev, f32 *partials, const T *cur, Params p, Gate gate) {
    __shared__ float sums[2];
    if (gated_off(gate)) {
        return;
    }
    const u32 end = share(p.elements, p.runs, blockIdx.x + 1);
    if (threadIdx.x == 0) {
        sums[0] = sums[1] = 0.0f;
    }
    __syncthreads();
    for (u32 i = share(p.elements, p.runs, blockIdx.x) + threadIdx.x; i < end; i += THREADS) {
        // Both are read before one is written, and an element is one thread's alone.
        const T next = cur[i];
        const float old = to_f32(prev[i]);
        prev[i] = next;
        atomicAdd(&sums[0], fabsf(to_f32(next) - old));
        atomicAdd(&sums[1], fabsf(old));
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        partials[2 * blockIdx.x] = sums[0];
        partials[2 * blockIdx.x + 1] = sums[1];
    }
}
