// z = z + exp((f·high + (1 − f)·low)/2)·noise, f = (v + 1)/2, v the channels of the tokens behind the
// prediction. One row of patches per block, one pixel of one channel at a time per thread.
#include "common.cuh"

struct Params {
    u32 channels, height, width, patch_size;
    f32 low, high; // logarithms of the least and the largest variance
    u32 bands;     // rows of patches, of all frames of all samples
};

extern "C" __global__ void __launch_bounds__(256)
    renoise(f32 *__restrict__ z, const f32 *__restrict__ tokens, const f32 *__restrict__ noise, Params p,
            Gate gate) {
    if (gated_off(gate)) {
        return;
    }
    const u32 band = blockIdx.x, down = p.height / p.patch_size, across = p.width / p.patch_size;
    const u32 image = band / down, top = band % down * p.patch_size;
    const u32 predicted = 2 * p.channels;
    tokens += static_cast<u64>(band) * across * p.patch_size * p.patch_size * predicted;
    for (u32 i = threadIdx.x; i < p.channels * p.patch_size * p.width; i += blockDim.x) {
        const u32 x = i % p.width, y = i / p.width % p.patch_size, channel = i / p.width / p.patch_size;
        const u32 pixel = (x / p.patch_size * p.patch_size + y) * p.patch_size + x % p.patch_size;
        const float f = fmaf(0.5f, tokens[pixel * predicted + p.channels + channel], 0.5f);
        const float deviation = expf(0.5f * fmaf(f, p.high - p.low, p.low));
        const u64 at =
            (static_cast<u64>(image * p.channels + channel) * p.height + top + y) * p.width + x;
        z[at] = fmaf(deviation, noise[at], z[at]);
    }
}
