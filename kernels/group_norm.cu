// out = (x − mean) / √(variance + ε)·weight + bias over groups of channels, then SiLU. A block takes a group of an image,
// and reads it three times: for the mean, for the deviations from it, so that a large mean costs no precision, and to
// normalise it. Neighbouring threads have neighbouring channels of a pixel, and then the next pixel's.
#include "common.cuh"

struct Params {
    u32 pixels, channels, groups, silu;
    f32 epsilon;
};

constexpr u32 THREADS = 512;

/// `visit(at, channel)` for every element of this block's group that is this thread's.
template <class Visit>
DEVICE void elements(const Params &p, const Visit &visit) {
    const u32 size = p.channels / p.groups;
    const u64 image = static_cast<u64>(blockIdx.y) * p.pixels * p.channels;
    // The thread's element in a pixel's run of channels, and from one turn to the next: whole pixels, and channels.
    u32 pixel = threadIdx.x / size, i = threadIdx.x % size;
    const u32 pixels = THREADS / size, rest = THREADS % size;
    while (pixel < p.pixels) {
        const u32 channel = blockIdx.x * size + i;
        visit(image + static_cast<u64>(pixel) * p.channels + channel, channel);
        pixel += pixels;
        i += rest;
        if (i >= size) {
            i -= size;
            pixel++;
        }
    }
}

/// Σ over the block, known to all of it. `scratch` is shared, one number per warp and one for the sum.
DEVICE float block_total(float x, float *scratch) {
    x = block_sum(x, scratch);
    if (threadIdx.x == 0) {
        scratch[THREADS / 32] = x;
    }
    __syncthreads();
    return scratch[THREADS / 32];
}

extern "C" __global__ void __launch_bounds__(THREADS)
    group_norm(T *__restrict__ out, const T *__restrict__ x, const f32 *__restrict__ weight,
               const f32 *__restrict__ bias, Params p, Gate gate) {
    __shared__ float of_mean[THREADS / 32 + 1], of_squares[THREADS / 32 + 1];
    if (gated_off(gate)) {
        return;
    }
    const float n = static_cast<float>(p.pixels) * static_cast<float>(p.channels / p.groups);
    float sum = 0.0f;
    elements(p, [&](u64 at, u32) { sum += to_f32(x[at]); });
    const float mean = block_total(sum, of_mean) / n;
    float squares = 0.0f;
    elements(p, [&](u64 at, u32) {
        const float deviation = to_f32(x[at]) - mean;
        squares = fmaf(deviation, deviation, squares);
    });
    const float variance = block_total(squares, of_squares) / n;
    const float scale = 1.0f / sqrtf(variance + p.epsilon);
    elements(p, [&](u64 at, u32 channel) {
        const float y = fmaf((to_f32(x[at]) - mean) * scale, weight[channel], bias[channel]);
        put(out[at], p.silu ? silu(y) : y);
    });
}
