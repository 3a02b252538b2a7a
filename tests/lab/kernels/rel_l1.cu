// partials[run] = (Σ|cur − prev|, Σ|prev|), then prev = cur. A block takes a run, and adds up in a tree.
//
// steep: tile = 1, 1, 1
// steep: threads = 128
#include "common.cuh"

struct Params {
    u32 elements, runs;
};

extern "C" __global__ void rel_l1(T *prev, f32 *partials, const T *cur, Params p, Gate gate) {
    __shared__ double change[128], size[128];
    if (gated_off(gate)) {
        return;
    }
    const u32 t = threadIdx.x, end = share(p.elements, p.runs, blockIdx.x + 1);
    double c = 0.0, s = 0.0;
    for (u32 i = share(p.elements, p.runs, blockIdx.x) + t; i < end; i += 128) {
        const float next = to_f32(cur[i]), old = to_f32(prev[i]);
        c += fabsf(next - old);
        s += fabsf(old);
        prev[i] = cur[i];
    }
    change[t] = c;
    size[t] = s;
    __syncthreads(); // the tree reads what others wrote
    for (u32 half = 64; half > 0; half /= 2) {
        if (t < half) {
            change[t] += change[t + half];
            size[t] += size[t + half];
        }
        __syncthreads();
    }
    if (t == 0) {
        partials[2 * blockIdx.x] = static_cast<float>(change[0]);
        partials[2 * blockIdx.x + 1] = static_cast<float>(size[0]);
    }
}
