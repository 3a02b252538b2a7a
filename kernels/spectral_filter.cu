// out[o, i, :] = Σ_j kernels[step, (i − j) mod n]·x[o, j, :]: circular convolution along an axis of n rows of
// `stride` elements. 1024 elements of a row per block, twice four per thread.
#include "common.cuh"

struct Params {
    u32 outer, places, stride, step;
};

constexpr u32 THREADS = 128, STEP = 4 * THREADS;

/// Four elements from `at` on, and from a block's width behind them.
template <bool VECTOR>
DEVICE void filter(f32 *out, const T *x, const f32 *weights, const Params &p, u32 place, u32 at) {
    float total[2][4] = {};
    u32 back = place; // (place − j) mod n
    for (u32 j = 0; j < p.places; j++) {
        const float weight = weights[back];
        back = (back == 0 ? p.places : back) - 1;
#pragma unroll
        for (u32 k = 0; k < 2; k++) {
            if (at + k * STEP < p.stride) {
                float v[4];
                load<VECTOR>(x + static_cast<u64>(j) * p.stride, at + k * STEP, p.stride, v);
#pragma unroll
                for (u32 i = 0; i < 4; i++) {
                    total[k][i] = fmaf(weight, v[i], total[k][i]);
                }
            }
        }
    }
#pragma unroll
    for (u32 k = 0; k < 2; k++) {
        if (at + k * STEP < p.stride) {
            store<VECTOR>(out + static_cast<u64>(place) * p.stride, at + k * STEP, p.stride, total[k]);
        }
    }
}

extern "C" __global__ void __launch_bounds__(THREADS)
    spectral_filter(f32 *__restrict__ out, const T *__restrict__ x, const f32 *__restrict__ kernels, Params p,
                    Gate gate) {
    if (gated_off(gate)) {
        return;
    }
    const u64 first = static_cast<u64>(blockIdx.z) * p.places * p.stride;
    const f32 *const weights = kernels + static_cast<u64>(p.step) * p.places;
    const u32 at = 2 * STEP * blockIdx.x + 4 * threadIdx.x;
    if (at >= p.stride) {
        return;
    }
    if (p.stride % 4 == 0) {
        filter<true>(out + first, x + first, weights, p, blockIdx.y, at);
    } else {
        filter<false>(out + first, x + first, weights, p, blockIdx.y, at);
    }
}
