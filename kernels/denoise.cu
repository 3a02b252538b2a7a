// z = keep·z + add·v, v = c or, in the first `guided` channels, u + g·(c − u): unpatchify, guidance and the sampler's update in one pass over
// the clip.
//
// One row of patches per block, a pixel per thread, whose channels lie next to each other in its token: four at a time, if they
// are that many.
#include "pixels.cuh"

struct Params {
    u32 frames, channels, height, width, patch_size;
    u32 predicted; // channels of a token's pixel: more than the clip's where the model also predicts
                   // variances
    u32 guided;    // channels that are, the first ones; 0 where tokens have no second half
    f32 keep, add, guidance;
    u32 bands; // rows of patches, of all frames of all samples
};

/// The next value of one channel of a pixel, from the conditional prediction and the unconditional one.
DEVICE float update(const Params &p, float z, float prediction, float u, bool guided) {
    if (guided) {
        prediction = fmaf(p.guidance, prediction - u, u);
    }
    // At 0 the clip may be anything.
    return fmaf(p.add, prediction, p.keep == 0.0f ? 0.0f : p.keep * z);
}

template <bool VECTOR>
DEVICE void pixels(f32 *z, const f32 *tokens, const Params &p) {
    const u64 half = static_cast<u64>(p.bands) * p.width * p.patch_size * p.predicted, plane = p.height * p.width;
    each_pixel(p, [&](u64 place, u64 pixel) {
        const f32 *const at = tokens + pixel * p.predicted;
        for (u32 channel = 0; channel < p.channels; channel += 4) {
            float conditional[4], unconditional[4] = {};
            load<VECTOR>(at, channel, p.channels, conditional);
            if (channel < p.guided) {
                load<VECTOR>(at + half, channel, p.channels, unconditional);
            }
#pragma unroll
            for (u32 i = 0; i < 4; i++) {
                if (VECTOR || channel + i < p.channels) {
                    f32 &to = z[place + (channel + i) * plane];
                    to = update(p, to, conditional[i], unconditional[i], channel + i < p.guided);
                }
            }
        }
    });
}

extern "C" __global__ void __launch_bounds__(256)
    denoise(f32 *__restrict__ z, const f32 *__restrict__ tokens, Params p, Gate gate) {
    if (gated_off(gate)) {
        return;
    }
    if ((p.channels | p.predicted) % 4 == 0) {
        pixels<true>(z, tokens, p);
    } else {
        pixels<false>(z, tokens, p);
    }
}
