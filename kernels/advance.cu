// z = keep·z + add·v: the sampler's update from a prediction that has the clip's layout. One element per thread.
#include "common.cuh"

struct Params {
    u32 elements;
    f32 keep, add;
};

extern "C" __global__ void __launch_bounds__(256)
    advance(f32 *__restrict__ z, const f32 *__restrict__ v, Params p, const u32 *flag, u32 want) {
    if (gated_off(flag, want)) {
        return;
    }
    const u32 at = blockIdx.x * blockDim.x + threadIdx.x;
    if (at < p.elements) {
        z[at] = fmaf(p.add, v[at], p.keep * z[at]);
    }
}
