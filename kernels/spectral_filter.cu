// out[o, i, :] = Σ_j kernels[step, (i − j) mod n]·x[o, j, :] along an axis of n rows of `stride` elements. A block takes
// 256 elements of a row.
#include "common.cuh"

struct Params {
    u32 outer, places, stride, step;
};

extern "C" __global__ void __launch_bounds__(256)
    spectral_filter(f32 *__restrict__ out, const T *__restrict__ x, const f32 *__restrict__ kernels, Params p,
                    const u32 *flag, u32 want) {
    if (gated_off(flag, want)) {
        return;
    }
    const u32 at = blockIdx.x * blockDim.x + threadIdx.x, i = blockIdx.y, first = blockIdx.z * p.places;
    if (at >= p.stride) {
        return;
    }
    const f32 *kernel = kernels + p.step * p.places;
    float total = 0.0f;
    for (u32 j = 0; j < p.places; j++) {
        const float weight = kernel[(i + p.places - j) % p.places];
        total = fmaf(weight, to_f32(x[(first + j) * p.stride + at]), total);
    }
    out[(first + i) * p.stride + at] = total;
}
