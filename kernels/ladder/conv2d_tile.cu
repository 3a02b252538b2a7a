// out = conv(x) + bias + add, a tile per block through shared memory and registers. Any shape, any dtype, f32 arithmetic.
//
//     for every place of the window, and every 16 of its channels:
//         shared: 64 pixels of x and 64 rows of w, transposed, in f32
//         every thread: 4 × 4 products and sums per channel from 4 + 4 numbers
#include "conv2d.cuh"

constexpr u32 ROWS = 64, COLUMNS = 64, DEPTH = 16, THREADS = 256, TURNS = ROWS * DEPTH / THREADS;
static_assert(ROWS == COLUMNS, "one loop loads both");

extern "C" __global__ void __launch_bounds__(THREADS, 2)
    conv2d(T *__restrict__ out, const T *__restrict__ x, const T *__restrict__ w, const f32 *__restrict__ bias,
           const T *__restrict__ add, Params p, Gate gate) {
    __shared__ float xs[DEPTH][ROWS + 1], ws[DEPTH][COLUMNS + 1];
    if (gated_off(gate)) {
        return;
    }
    const u32 row0 = blockIdx.y * ROWS, column0 = blockIdx.x * COLUMNS;
    const u32 tx = threadIdx.x % 16, ty = threadIdx.x / 16;
    // Neighbouring threads bring neighbouring channels, of a pixel and of a row of w.
    const u32 mine = threadIdx.x % DEPTH, bring = threadIdx.x / DEPTH;
    Pixel pixels[TURNS];
#pragma unroll
    for (u32 turn = 0; turn < TURNS; turn++) {
        pixels[turn] = Pixel(p, min(row0 + bring + turn * THREADS / DEPTH, p.rows - 1));
    }
    const u32 window = p.size * p.size;
    float acc[4][4] = {};
    for (u32 tap = 0; tap < window; tap++) {
        u32 from[TURNS], inside = 0;
#pragma unroll
        for (u32 turn = 0; turn < TURNS; turn++) {
            const bool sees = pixels[turn].sees(p, tap / p.size, tap % p.size, from[turn]);
            inside |= (sees ? 1u : 0u) << turn;
        }
        for (u32 k0 = 0; k0 < p.channels; k0 += DEPTH) {
            const u32 k = k0 + mine;
#pragma unroll
            for (u32 turn = 0; turn < TURNS; turn++) {
                const u32 i = bring + turn * THREADS / DEPTH;
                const bool there = k < p.channels && (inside >> turn & 1u) != 0;
                xs[mine][i] = there ? to_f32(x[static_cast<u64>(from[turn]) * p.channels + k]) : 0.0f;
                const bool row = k < p.channels && column0 + i < p.columns;
                ws[mine][i] =
                    row ? to_f32(w[(static_cast<u64>(column0 + i) * window + tap) * p.channels + k]) : 0.0f;
            }
            __syncthreads();
#pragma unroll
            for (u32 k = 0; k < DEPTH; k++) {
#pragma unroll
                for (u32 i = 0; i < 4; i++) {
#pragma unroll
                    for (u32 j = 0; j < 4; j++) {
                        acc[i][j] = fmaf(xs[k][ty + 16 * i], ws[k][tx + 16 * j], acc[i][j]);
                    }
                }
            }
            __syncthreads();
        }
    }
#pragma unroll
    for (u32 i = 0; i < 4; i++) {
#pragma unroll
        for (u32 j = 0; j < 4; j++) {
            const u32 row = row0 + ty + 16 * i, column = column0 + tx + 16 * j;
            if (row < p.rows && column < p.columns) {
                const u64 at = static_cast<u64>(row) * p.columns + column;
                put(out[at], fmaxf(acc[i][j] + bias[column] + (p.add ? to_f32(add[at]) : 0.0f), p.least));
            }
        }
    }
}
