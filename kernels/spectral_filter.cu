// out[o, i, :] = Σ_j kernels[step, (i − j) mod n]·x[o, j, :]: circular convolution along an axis of n rows of
// `stride` elements. 1024 elements of a row per block, eight per thread.
#include "common.cuh"

struct Params {
    u32 outer, places, stride, step;
};

template <bool VECTOR>
DEVICE void filter8(f32 *out, const T *x, const f32 *weights, const Params &p, u32 place, u32 at) {
    float total[8] = {};
    for (u32 j = 0; j < p.places; j++) {
        const float weight = weights[(place + p.places - j) % p.places];
        float v[8];
        load8<VECTOR>(x + static_cast<u64>(j) * p.stride, at, p.stride, v);
#pragma unroll
        for (int i = 0; i < 8; i++) {
            total[i] = fmaf(weight, v[i], total[i]);
        }
    }
    store8<VECTOR>(out + static_cast<u64>(place) * p.stride, at, p.stride, total);
}

extern "C" __global__ void __launch_bounds__(128)
    spectral_filter(f32 *__restrict__ out, const T *__restrict__ x, const f32 *__restrict__ kernels, Params p,
                    Gate gate) {
    if (gated_off(gate)) {
        return;
    }
    const u64 first = static_cast<u64>(blockIdx.z) * p.places * p.stride;
    const f32 *const weights = kernels + static_cast<u64>(p.step) * p.places;
    const u32 at = 8 * (blockIdx.x * blockDim.x + threadIdx.x);
    if (at >= p.stride) {
        return;
    }
    if (p.stride % 8 == 0) {
        filter8<true>(out + first, x + first, weights, p, blockIdx.y, at);
    } else {
        filter8<false>(out + first, x + first, weights, p, blockIdx.y, at);
    }
}
