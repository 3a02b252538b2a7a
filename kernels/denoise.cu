// z = keep·z + add·v, v = c or, in the first `guided` channels, u + g·(c − u): unpatchify, guidance and the sampler's update in one pass over
// the clip.
//
// One row of patches per block. Its pixels are dealt out four in a line per thread, so that the clip moves 16
// bytes at a time; the tokens of a row of patches lie next to each other and are used up from the cache.
#include "common.cuh"

struct Params {
    u32 frames, channels, height, width, patch_size;
    u32 predicted; // channels of a token's pixel: more than the clip's where the model also predicts
                   // variances
    u32 guided;    // channels that are, the first ones; 0 where tokens have no second half
    f32 keep, add, guidance;
    u32 bands; // rows of patches, of all frames of all samples
};

/// The next value of one pixel; `v` is where its prediction is, `half` how far the unconditional half is from
/// the conditional.
DEVICE float update(const Params &p, float z, const f32 *v, bool guided, u64 half) {
    float prediction = v[0];
    if (guided) {
        const float u = v[half];
        prediction = fmaf(p.guidance, prediction - u, u);
    }
    // At 0 the clip may be anything.
    return fmaf(p.add, prediction, p.keep == 0.0f ? 0.0f : p.keep * z);
}

extern "C" __global__ void __launch_bounds__(256)
    denoise(f32 *__restrict__ z, const f32 *__restrict__ tokens, Params p, Gate gate) {
    if (gated_off(gate)) {
        return;
    }
    const u32 band = blockIdx.x, down = p.height / p.patch_size, across = p.width / p.patch_size;
    const u32 image = band / down, top = band % down * p.patch_size;
    const u32 token = p.patch_size * p.patch_size * p.predicted;
    const u64 half = static_cast<u64>(p.bands) * across * token;
    tokens += static_cast<u64>(band) * across * token;
    const u32 step = p.width % 4 == 0 ? 4 : 1, steps = p.width / step;
    for (u32 i = threadIdx.x; i < p.channels * p.patch_size * steps; i += blockDim.x) {
        const u32 x = i % steps * step, y = i / steps % p.patch_size, channel = i / steps / p.patch_size;
        const bool guided = channel < p.guided;
        f32 *const to =
            z + (static_cast<u64>(image * p.channels + channel) * p.height + top + y) * p.width + x;
        const auto at = [&](u32 x) {
            return tokens + x / p.patch_size * token + (y * p.patch_size + x % p.patch_size) * p.predicted + channel;
        };
        if (step == 4) {
            Quad line = load16(to);
#pragma unroll
            for (u32 j = 0; j < 4; j++) {
                line.word[j] = __float_as_uint(update(p, __uint_as_float(line.word[j]), at(x + j), guided, half));
            }
            store16(to, line);
        } else {
            *to = update(p, *to, at(x), guided, half);
        }
    }
}
