// out = epilogue(x·wᵀ + bias), a tile per block through shared memory and registers. Any shape, any dtype,
// f32 arithmetic.
//
//     for every 16 of the k products:
//         shared: 64 rows of x and 128 rows of w, transposed, in f32
//         every thread: 4 × 8 products and sums per k from 4 + 8 numbers
//
// Against the naive one, x and w are read 64 and 128 times less often from memory, 8 and 4 times from shared
// memory. This is what f32 runs by default; tensor cores have no f32.
#include "linear.cuh"

constexpr u32 ROWS = 64, COLUMNS = 128, DEPTH = 16, THREADS = 256;
// Elements of one access of 16 bytes.
constexpr u32 WIDTH = 16 / sizeof(T);

/// Rows first .. first + N of a matrix, columns k0 .. k0 + DEPTH, transposed; zeros outside.
template <bool VECTOR, u32 N>
DEVICE void load_tile(float (&to)[DEPTH][N + 4], const T *from, u32 first, u32 rows, u32 k0, u32 depth) {
    for (u32 i = threadIdx.x; i < N * DEPTH / WIDTH; i += THREADS) {
        const u32 row = i % N, k = i / N * WIDTH;
        float v[WIDTH] = {};
        if (first + row < rows && k0 + k < depth) {
            load<VECTOR>(from + static_cast<u64>(first + row) * depth, k0 + k, depth, v);
        }
#pragma unroll
        for (u32 j = 0; j < WIDTH; j++) {
            to[k + j][row] = v[j];
        }
    }
}

extern "C" __global__ void __launch_bounds__(THREADS, 2)
    linear(O *out, const T *__restrict__ x, const T *__restrict__ w, const f32 *__restrict__ bias,
           const f32 *__restrict__ mods, const f32 *__restrict__ onto, Params p, Gate gate) {
    __shared__ __align__(16) float xs[DEPTH][ROWS + 4];
    __shared__ __align__(16) float ws[DEPTH][COLUMNS + 4];
    if (gated_off(gate)) {
        return;
    }
    const u32 row0 = blockIdx.y * ROWS, column0 = blockIdx.x * COLUMNS;
    const u32 tx = threadIdx.x % 16, ty = threadIdx.x / 16;
    float acc[4][2][4] = {};
    for (u32 k0 = 0; k0 < p.depth; k0 += DEPTH) {
        if (p.depth % WIDTH == 0) {
            load_tile<true, ROWS>(xs, x, row0, p.rows, k0, p.depth);
            load_tile<true, COLUMNS>(ws, w, column0, p.columns, k0, p.depth);
        } else {
            load_tile<false, ROWS>(xs, x, row0, p.rows, k0, p.depth);
            load_tile<false, COLUMNS>(ws, w, column0, p.columns, k0, p.depth);
        }
        __syncthreads();
#pragma unroll
        for (u32 k = 0; k < DEPTH; k++) {
            float a[4], b[2][4];
            load(&xs[k][4 * ty], a);
            // Two runs of four, 64 apart: eight neighbours per thread would meet in the same banks.
            load(&ws[k][4 * tx], b[0]);
            load(&ws[k][64 + 4 * tx], b[1]);
#pragma unroll
            for (u32 i = 0; i < 4; i++) {
#pragma unroll
                for (u32 j = 0; j < 8; j++) {
                    acc[i][j / 4][j % 4] = fmaf(a[i], b[j / 4][j % 4], acc[i][j / 4][j % 4]);
                }
            }
        }
        __syncthreads();
    }
    const Finish f{out, bias, mods, onto};
    const bool whole = vectors(p);
#pragma unroll
    for (u32 i = 0; i < 4; i++) {
#pragma unroll
        for (u32 j = 0; j < 2; j++) {
            const u32 row = row0 + 4 * ty + i, column = column0 + 64 * j + 4 * tx;
            if (row >= p.rows || column >= p.columns) {
                continue;
            }
            if (whole) {
                finish4<true>(p, f, row, column, acc[i][j]);
            } else {
                finish4<false>(p, f, row, column, acc[i][j]);
            }
        }
    }
}
