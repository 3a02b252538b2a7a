// z = keep·z + add·v: the sampler's update from a prediction that has the clip's layout already. Eight elements
// per thread.
#include "common.cuh"

struct Params {
    u32 elements;
    f32 keep, add;
};

template <bool VECTOR>
DEVICE void advance8(f32 *z, const f32 *v, u32 at, const Params &p) {
    float a[8], b[8];
    load8<VECTOR>(z, at, p.elements, a);
    load8<VECTOR>(v, at, p.elements, b);
#pragma unroll
    for (int i = 0; i < 8; i++) {
        a[i] = fmaf(p.add, b[i], p.keep * a[i]);
    }
    store8<VECTOR>(z, at, p.elements, a);
}

extern "C" __global__ void __launch_bounds__(256)
    advance(f32 *__restrict__ z, const f32 *__restrict__ v, Params p, Gate gate) {
    if (gated_off(gate)) {
        return;
    }
    const u32 at = 8 * (blockIdx.x * blockDim.x + threadIdx.x);
    if (at + 8 <= p.elements) {
        advance8<true>(z, v, at, p);
    } else if (at < p.elements) {
        advance8<false>(z, v, at, p);
    }
}
