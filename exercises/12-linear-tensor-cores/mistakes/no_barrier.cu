// expect: race: thread|unfinished copy: thread
// A thread has waited for its own copies, not for everybody's, and copies over what others still read.
// of 64×64 outputs per block of four warps, 32×32 of them per warp.
// steep: tile = 1, 64, 64
// steep: threads = 128
// steep: needs = sm80
// steep: dtypes = f16, bf16
// Rows are copied 16 bytes at a time, so they must be whole ones:
// steep: multiple = 8
#include "linear.cuh" // Params, Finish and finish(): the bias, and what happens to a sum before it is stored

constexpr u32 SIDE = 64;         // of a tile
constexpr u32 DEPTH = 32;        // of the products that are in shared memory at a time
constexpr u32 PITCH = DEPTH + 8; // elements from row to row: an odd number of 16 bytes, so eight rows lie in different banks
constexpr u32 THREADS = 128;

struct Stage {
    T x[SIDE][PITCH], w[SIDE][PITCH];
};

// Starts to copy rows first .. first + 64 of a matrix, columns k0 .. k0 + 32; zeros past the ends.
DEVICE void bring(T (&to)[SIDE][PITCH], const T *from, u32 first, u32 rows, u32 k0, u32 depth) {
    for (u32 i = threadIdx.x; i < SIDE * DEPTH / 8; i += THREADS) {
        const u32 row = i / (DEPTH / 8), k = i % (DEPTH / 8) * 8;
        const bool inside = first + row < rows && k0 + k < depth;
        cp_async16(&to[row][k], inside ? from + (first + row) * depth + k0 + k : from, inside ? 16 : 0); // here
    }
}

extern "C" __global__ void linear(O *out, const T *x, const T *w, const f32 *bias, const f32 *mods, const f32 *onto,
                                  Params p, Gate gate) {
    __shared__ __align__(16) Stage stages[2];
    if (gated_off(gate)) {
        return;
    }
    const u32 row0 = blockIdx.y * SIDE, column0 = blockIdx.x * SIDE;
    const u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const u32 warp_row = warp / 2 * 32, warp_column = warp % 2 * 32;
    const auto start = [&](u32 k0) {
        if (k0 < p.depth) {
            Stage &stage = stages[k0 / DEPTH % 2];
            bring(stage.x, x, row0, p.rows, k0, p.depth);
            bring(stage.w, w, column0, p.columns, k0, p.depth);
        }
        // Past the end an empty group.
        cp_async_commit();
    };
    float sum[2][4][4] = {};
    start(0);
    for (u32 k0 = 0; k0 < p.depth; k0 += DEPTH) {
        cp_async_wait<0>(); // here
        start(k0 + DEPTH);
        const Stage &stage = stages[k0 / DEPTH % 2];
#pragma unroll
        for (u32 k = 0; k < DEPTH; k += 16) {
            u32 a[2][4], b[4][2];
#pragma unroll
            for (u32 i = 0; i < 2; i++) {
                // Four matrices of 8×8: rows 0-7 and 8-15 of columns 0-7, then of columns 8-15.
                ldmatrix_x4(a[i], &stage.x[warp_row + 16 * i + lane % 16][k + lane / 16 * 8]); // here
            }
#pragma unroll
            for (u32 j = 0; j < 4; j += 2) {
                // Columns 0-7 and 8-15 of rows 0-7 of w, then of rows 8-15: both halves of two operands.
                u32 pair[4];
                ldmatrix_x4(pair, &stage.w[warp_column + 8 * j + lane / 16 * 8 + lane % 8][k + lane / 8 % 2 * 8]); // here
                b[j][0] = pair[0], b[j][1] = pair[1];
                b[j + 1][0] = pair[2], b[j + 1][1] = pair[3];
            }
#pragma unroll
            for (u32 i = 0; i < 2; i++) {
#pragma unroll
                for (u32 j = 0; j < 4; j++) {
                    mma_m16n8k16(sum[i][j], a[i], b[j], T());
                }
            }
        }
    }
    const Finish f{out, bias, mods, onto};
#pragma unroll
    for (u32 i = 0; i < 2; i++) {
#pragma unroll
        for (u32 j = 0; j < 4; j++) {
#pragma unroll
            for (u32 e = 0; e < 4; e++) {
                const u32 row = row0 + warp_row + 16 * i + lane / 4 + e / 2 * 8;
                const u32 column = column0 + warp_column + 8 * j + lane % 4 * 2 + e % 2;
                if (row < p.rows && column < p.columns) {
                    finish(p, f, row, column, sum[i][j][e]);
                }
            }
        }
    }
}
