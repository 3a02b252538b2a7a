// x[b, f, n] = w · patch n of z[b mod Z, f] + bias + pos[n]: a convolution whose kernel is its stride, as a
// matrix product. Both halves of a guided batch read one clip: a sum is made once, and stored for each.
//
// 32 tokens by 64 channels per block. Patches and weights pass through shared memory in f32, sixteen of their
// C·p·p numbers at a time; a thread makes two tokens of four channels.
#include "common.cuh"

struct Params {
    u32 samples, frames, channels, height, width, patch_size, dim, rows, copies;
};

constexpr u32 ROWS = 32, COLUMNS = 64, DEPTH = 16, THREADS = 256, TURNS = ROWS * DEPTH / THREADS;

extern "C" __global__ void __launch_bounds__(THREADS, 4)
    patch_embed(f32 *__restrict__ x, const f32 *__restrict__ z, const T *__restrict__ w,
                const f32 *__restrict__ bias, const f32 *__restrict__ pos, Params p, Gate gate) {
    __shared__ float patches[DEPTH][ROWS + 1], weights[DEPTH][COLUMNS + 4];
    if (gated_off(gate)) {
        return;
    }
    const u32 across = p.width / p.patch_size, tokens = p.height / p.patch_size * across;
    const u32 rows = p.rows, depth = p.channels * p.patch_size * p.patch_size;
    const u32 row0 = blockIdx.y * ROWS, column0 = blockIdx.x * COLUMNS;
    const u32 tx = threadIdx.x % 16, ty = threadIdx.x / 16;
    // Neighbouring threads read neighbouring pixels of a line: each has one number of a token's patch, and TURNS tokens,
    // where each one's patch begins.
    const u32 mine = threadIdx.x % DEPTH;
    u32 first[TURNS];
#pragma unroll
    for (u32 turn = 0; turn < TURNS; turn++) {
        const u32 row = min(row0 + threadIdx.x / DEPTH + turn * THREADS / DEPTH, rows - 1);
        const u32 image = row / tokens, token = row % tokens, down = token / across;
        const u32 line = image * p.channels * p.height + down * p.patch_size;
        first[turn] = line * p.width + (token - down * across) * p.patch_size;
    }
    float acc[2][4] = {};
    for (u32 k0 = 0; k0 < depth; k0 += DEPTH) {
        const u32 k = k0 + mine, above = k / p.patch_size, channel = above / p.patch_size;
        const u32 line = channel * p.height + above - channel * p.patch_size;
        const u32 at = line * p.width + k - above * p.patch_size;
#pragma unroll
        for (u32 turn = 0; turn < TURNS; turn++) {
            // Tokens past the last are the last one's copies, which nobody stores.
            patches[mine][threadIdx.x / DEPTH + turn * THREADS / DEPTH] = k < depth ? z[first[turn] + at] : 0.0f;
        }
        // Neighbours read neighbours, again.
#pragma unroll
        for (u32 i = threadIdx.x / DEPTH; i < COLUMNS; i += THREADS / DEPTH) {
            const bool inside = k < depth && column0 + i < p.dim;
            weights[mine][i] = inside ? to_f32(w[static_cast<u64>(column0 + i) * depth + k]) : 0.0f;
        }
        __syncthreads();
#pragma unroll
        for (u32 k = 0; k < DEPTH; k++) {
#pragma unroll
            for (u32 j = 0; j < 4; j++) {
                const float weight = weights[k][4 * tx + j];
                acc[0][j] = fmaf(patches[k][ty], weight, acc[0][j]);
                acc[1][j] = fmaf(patches[k][ty + 16], weight, acc[1][j]);
            }
        }
        __syncthreads();
    }
#pragma unroll
    for (u32 i = 0; i < 2; i++) {
        const u32 row = row0 + ty + 16 * i, column = column0 + 4 * tx;
        if (row >= rows) {
            continue;
        }
        const f32 *const place = pos + static_cast<u64>(row % tokens) * p.dim;
        for (u32 copy = 0; copy < p.copies; copy++) {
            f32 *const out = x + (static_cast<u64>(copy) * rows + row) * p.dim;
            if (p.dim % 4 == 0 && column < p.dim) {
                const Quad b = load16(bias + column), at = load16(place + column);
                Quad sum;
#pragma unroll
                for (u32 j = 0; j < 4; j++) {
                    sum.word[j] =
                        __float_as_uint(acc[i][j] + __uint_as_float(b.word[j]) + __uint_as_float(at.word[j]));
                }
                store16(out + column, sum);
            } else {
#pragma unroll
                for (u32 j = 0; j < 4; j++) {
                    if (column + j < p.dim) {
                        out[column + j] = acc[i][j] + bias[column + j] + place[column + j];
                    }
                }
            }
        }
    }
}
