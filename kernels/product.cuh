// x·wᵀ on the tensor cores: mma.sync, ldmatrix, and cp.async stages. f16 and bf16.
//
//     STAGES tiles of x and w on their way to shared memory, 32 of the k products each
//     for each tile, as it arrives:
//         a warp: a quarter of the tile's sums, by 16 × 8 × 16 mma, operands by ldmatrix
//         start to load the tile STAGES − 1 ahead, into the place of the one before
//     sums through shared memory into rows, four neighbours per thread
//
// A row in shared memory has four chunks of 16 bytes; which of them is where changes from each pair of rows to the
// next, so that the eight rows of an ldmatrix lie in different banks. A warp has 64 × 64 sums where there is enough
// to do: with a square, and a large one, the fewest bytes leave shared memory for each mma.
#pragma once
#include "common.cuh"

#ifndef TILE_ROWS
#define TILE_ROWS 128
#define TILE_COLUMNS 128
#define WARPS_DOWN 2
#define WARPS_ACROSS 2
#endif
#ifndef STAGES
#define STAGES 4
#endif

constexpr u32 DEPTH = 32, CHUNKS = DEPTH / 8; // of a tile: elements and 16-byte chunks of a row
constexpr u32 THREADS = 32 * WARPS_DOWN * WARPS_ACROSS;
constexpr u32 MMA_ROWS = TILE_ROWS / WARPS_DOWN / 16, MMA_COLUMNS = TILE_COLUMNS / WARPS_ACROSS / 8;
constexpr u32 STAGE = (TILE_ROWS + TILE_COLUMNS) * DEPTH;
constexpr u32 SUM_PITCH = TILE_COLUMNS + 4; // floats
// Dynamic shared memory: the stages, and in the end the sums in their place.
constexpr u32 STAGE_BYTES = 2 * STAGES * STAGE, SUM_BYTES = 4 * TILE_ROWS * SUM_PITCH;
constexpr u32 LAYOUT_BYTES = STAGE_BYTES > SUM_BYTES ? STAGE_BYTES : SUM_BYTES;
static_assert(MMA_COLUMNS % 2 == 0, "ldmatrix.x4 brings two columns of mma tiles");

/// Where a chunk of a row is in a stage.
DEVICE u32 place(u32 row, u32 chunk) {
    return row * DEPTH + (chunk ^ row / 2 % CHUNKS) * 8;
}

/// What one thread loads of N rows of a matrix: in each tile, the same chunk of every ROWS-th row.
template <u32 N>
struct Loader {
    static constexpr u32 ROWS = THREADS / CHUNKS, TURNS = N / ROWS;
    static_assert(N % ROWS == 0 && ROWS % (2 * CHUNKS) == 0, "whole turns, each with its rows' chunks in one place");
    const T *matrix, *from; // from: this tile's first chunk
    u32 step, to, k, depth; // elements from turn to turn, from the stage's beginning, from the row's, and of a row
    u32 inside;             // a bit for each turn: whether there is such a row

    DEVICE_MEMBER Loader(const T *m, u32 first, u32 rows, u32 n) : matrix(m), depth(n), inside(0) {
        const u32 row = threadIdx.x / CHUNKS, chunk = threadIdx.x % CHUNKS;
        k = 8 * chunk;
        from = m + static_cast<u64>(first + row) * depth + k;
        // No more than the tensor has elements, 2^31, where there is such a row.
        step = ROWS * depth;
        to = place(row, chunk);
#pragma unroll
        for (u32 turn = 0; turn < TURNS; turn++) {
            inside |= (first + row + turn * ROWS < rows ? 1u : 0u) << turn;
        }
    }

    /// Starts to load the next tile, zeros outside of the matrix.
    DEVICE_MEMBER void next(T *stage) {
#pragma unroll
        for (u32 turn = 0; turn < TURNS; turn++) {
            const bool there = (inside >> turn & 1u) != 0 && k < depth;
            cp_async16(stage + to + turn * ROWS * DEPTH, there ? from + turn * step : matrix, there ? 16 : 0);
        }
        from += DEPTH;
        k += DEPTH;
    }
};

/// The sums of this block's tile of x·wᵀ, four neighbours in a row at a time: `store(row, column, y)`, counted in the tile.
/// `of_x` and `of_w` load their parts of a stage; there are `tiles` of them.
template <class X, class W, class Store>
DEVICE void product(u8 *shared, X &of_x, W &of_w, u32 tiles, const Store &store) {
    T *const stages = reinterpret_cast<T *>(shared);
    const u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const u32 warp_row = warp / WARPS_ACROSS * MMA_ROWS * 16,
              warp_column = warp % WARPS_ACROSS * MMA_COLUMNS * 8;
    const auto load_stage = [&](u32 tile) {
        if (tile < tiles) {
            T *const stage = stages + tile % STAGES * STAGE;
            of_x.next(stage);
            of_w.next(stage + TILE_ROWS * DEPTH);
        }
        // Past the end an empty group, so that waiting counts the same.
        cp_async_commit();
    };
    for (u32 tile = 0; tile + 1 < STAGES; tile++) {
        load_stage(tile);
    }

    float acc[MMA_ROWS][MMA_COLUMNS][4] = {};
    for (u32 tile = 0; tile < tiles; tile++) {
        cp_async_wait<STAGES - 2>();
        // Everybody's part of this tile has arrived, and everybody is done with the one before, whose place
        // is free now.
        __syncthreads();
        load_stage(tile + STAGES - 1);
        const T *const xs = stages + tile % STAGES * STAGE, *const ws = xs + TILE_ROWS * DEPTH;
#pragma unroll
        for (u32 k = 0; k < DEPTH; k += 16) {
            u32 a[MMA_ROWS][4], b[MMA_COLUMNS][2];
#pragma unroll
            for (u32 i = 0; i < MMA_ROWS; i++) {
                // Matrices: rows 0-7 and 8-15 of columns 0-7, then of columns 8-15.
                ldmatrix_x4(a[i], xs + place(warp_row + 16 * i + lane % 16, k / 8 + lane / 16));
            }
#pragma unroll
            for (u32 j = 0; j < MMA_COLUMNS; j += 2) {
                // Matrices: columns 0-7 and 8-15 of rows 0-7 of w, then of rows 8-15.
                u32 pair[4];
                ldmatrix_x4(pair, ws + place(warp_column + 8 * j + lane / 16 * 8 + lane % 8, k / 8 + lane / 8 % 2));
                b[j][0] = pair[0], b[j][1] = pair[1];
                b[j + 1][0] = pair[2], b[j + 1][1] = pair[3];
            }
#pragma unroll
            for (u32 i = 0; i < MMA_ROWS; i++) {
#pragma unroll
                for (u32 j = 0; j < MMA_COLUMNS; j++) {
                    mma_m16n8k16(acc[i][j], a[i], b[j], T());
                }
            }
        }
    }

    cp_async_wait<0>();
    __syncthreads();
    float *const sums = reinterpret_cast<float *>(shared);
#pragma unroll
    for (u32 i = 0; i < MMA_ROWS; i++) {
#pragma unroll
        for (u32 j = 0; j < MMA_COLUMNS; j++) {
            float *const at =
                sums + (warp_row + 16 * i + lane / 4) * SUM_PITCH + warp_column + 8 * j + lane % 4 * 2;
            at[0] = acc[i][j][0], at[1] = acc[i][j][1];
            at[8 * SUM_PITCH] = acc[i][j][2], at[8 * SUM_PITCH + 1] = acc[i][j][3];
        }
    }
    __syncthreads();
    for (u32 i = threadIdx.x; i < TILE_ROWS * TILE_COLUMNS / 4; i += THREADS) {
        const u32 row = i / (TILE_COLUMNS / 4), column = i % (TILE_COLUMNS / 4) * 4;
        float y[4];
        if (store.wants(row, column)) {
            load(sums + row * SUM_PITCH + column, y);
            store(row, column, y);
        }
    }
}
