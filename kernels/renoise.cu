// z = z + exp((f·high + (1 − f)·low)/2)·noise, f = (v + 1)/2, v the channels of the tokens behind the
// prediction. One row of patches per block, a pixel per thread, as in denoise.
#include "pixels.cuh"

struct Params {
    u32 channels, height, width, patch_size;
    f32 low, high; // logarithms of the least and the largest variance
    u32 bands;     // rows of patches, of all frames of all samples
};

template <bool VECTOR>
DEVICE void pixels(f32 *z, const f32 *tokens, const f32 *noise, const Params &p) {
    const u64 plane = p.height * p.width;
    each_pixel(p, [&](u64 place, u64 pixel) {
        const f32 *const at = tokens + (2 * pixel + 1) * p.channels;
        for (u32 channel = 0; channel < p.channels; channel += 4) {
            float v[4];
            load<VECTOR>(at, channel, p.channels, v);
#pragma unroll
            for (u32 i = 0; i < 4; i++) {
                if (VECTOR || channel + i < p.channels) {
                    const float f = fmaf(0.5f, v[i], 0.5f);
                    const float deviation = expf(0.5f * fmaf(f, p.high - p.low, p.low));
                    const u64 to = place + (channel + i) * plane;
                    z[to] = fmaf(deviation, noise[to], z[to]);
                }
            }
        }
    });
}

extern "C" __global__ void __launch_bounds__(256)
    renoise(f32 *__restrict__ z, const f32 *__restrict__ tokens, const f32 *__restrict__ noise, Params p,
            Gate gate) {
    if (gated_off(gate)) {
        return;
    }
    if (p.channels % 4 == 0) {
        pixels<true>(z, tokens, noise, p);
    } else {
        pixels<false>(z, tokens, noise, p);
    }
}
