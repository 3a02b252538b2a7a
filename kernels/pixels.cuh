// What `denoise` and `renoise` share: unpatchify, from a token's channels to a clip's planes.
#pragma once
#include "common.cuh"

/// f(place, pixel) for each pixel of the block's row of patches: where its first channel is in the clip, whose channels are
/// planes of height × width, and its number among the pixels of the tokens, row by row in each patch. Neighbouring threads
/// have neighbours in a line, so that a warp moves whole sectors of the clip.
template <class Shape, class F>
DEVICE void each_pixel(const Shape &p, const F &f) {
    const u32 band = blockIdx.x, down = p.height / p.patch_size;
    const u32 image = band / down, top = band % down * p.patch_size;
    const u64 corner = (static_cast<u64>(image) * p.channels * p.height + top) * p.width;
    const u64 first = static_cast<u64>(band) * p.width * p.patch_size;
    for (u32 i = threadIdx.x; i < p.patch_size * p.width; i += blockDim.x) {
        const u32 y = i / p.width, x = i % p.width, patch = x / p.patch_size;
        f(corner + i, first + (patch * p.patch_size + y) * p.patch_size + x % p.patch_size);
    }
}
