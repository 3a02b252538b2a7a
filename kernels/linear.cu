// out = epilogue(x·wᵀ + bias) on the tensor cores: mma.sync, ldmatrix, and cp.async stages. f16 and bf16,
// rows of x and w (k) multiples of eight.
//
//     STAGES tiles of x and w on their way to shared memory, 32 of the k products each
//     for each tile, as it arrives:
//         a warp: 64 × 32 sums of 16 × 8 × 16 mma, operands by ldmatrix
//         start to load the tile STAGES − 1 ahead, into the place of the one before
//     sums through shared memory into rows, eight neighbours per thread; epilogue; 16-byte stores
//
// Rows in shared memory are padded to an odd number of 16-byte chunks, so that the eight rows of an ldmatrix
// lie in different banks.
#include "linear.cuh"

#ifndef TILE_ROWS
#define TILE_ROWS 128
#define TILE_COLUMNS 128
#define WARPS_DOWN 2
#define WARPS_ACROSS 4
#endif
#ifndef STAGES
#define STAGES 4
#endif

constexpr u32 DEPTH = 32;        // of a tile
constexpr u32 PITCH = DEPTH + 8; // elements from one row in shared memory to the next
constexpr u32 THREADS = 32 * WARPS_DOWN * WARPS_ACROSS;
constexpr u32 MMA_ROWS = TILE_ROWS / WARPS_DOWN / 16, MMA_COLUMNS = TILE_COLUMNS / WARPS_ACROSS / 8;
constexpr u32 STAGE = (TILE_ROWS + TILE_COLUMNS) * PITCH;
constexpr u32 SUM_PITCH = TILE_COLUMNS + 4; // floats
// Dynamic shared memory: the stages, and in the end the sums in their place.
constexpr u32 LAYOUT_BYTES = 2 * STAGES * STAGE;
static_assert(4 * TILE_ROWS * SUM_PITCH <= LAYOUT_BYTES, "the sums need more room than the stages");
static_assert(MMA_COLUMNS % 2 == 0, "ldmatrix.x4 brings two columns of mma tiles");

/// Starts to load N rows, k0 .. k0 + DEPTH of each; zeros outside of the matrix.
template <u32 N>
DEVICE void load_async(T *to, const T *from, u32 first, u32 rows, u32 k0, u32 depth) {
    constexpr u32 CHUNKS = DEPTH / 8;
#pragma unroll
    for (u32 i = threadIdx.x; i < N * CHUNKS; i += THREADS) {
        const u32 row = i / CHUNKS, k = i % CHUNKS * 8;
        const bool inside = first + row < rows && k0 + k < depth;
        const T *const chunk = inside ? from + static_cast<u64>(first + row) * depth + k0 + k : from;
        cp_async16(to + row * PITCH + k, chunk, inside ? 16 : 0);
    }
}

extern "C" __global__ void __launch_bounds__(THREADS)
    linear(O *out, const T *__restrict__ x, const T *__restrict__ w, const f32 *__restrict__ bias,
           const f32 *__restrict__ mods, const f32 *__restrict__ onto, Params p, Gate gate) {
    DYNAMIC_SHARED(shared, LAYOUT_BYTES);
    if (gated_off(gate)) {
        return;
    }
    T *const stages = reinterpret_cast<T *>(shared);
    const u32 row0 = blockIdx.y * TILE_ROWS, column0 = blockIdx.x * TILE_COLUMNS;
    const u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const u32 warp_row = warp / WARPS_ACROSS * MMA_ROWS * 16,
              warp_column = warp % WARPS_ACROSS * MMA_COLUMNS * 8;
    const u32 tiles = (p.depth + DEPTH - 1) / DEPTH;

    const auto load_stage = [&](u32 tile) {
        if (tile < tiles) {
            T *const stage = stages + tile % STAGES * STAGE;
            load_async<TILE_ROWS>(stage, x, row0, p.rows, tile * DEPTH, p.depth);
            load_async<TILE_COLUMNS>(stage + TILE_ROWS * PITCH, w, column0, p.columns, tile * DEPTH, p.depth);
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
        const T *const xs = stages + tile % STAGES * STAGE, *const ws = xs + TILE_ROWS * PITCH;
#pragma unroll
        for (u32 k = 0; k < DEPTH; k += 16) {
            u32 a[MMA_ROWS][4], b[MMA_COLUMNS][2];
#pragma unroll
            for (u32 i = 0; i < MMA_ROWS; i++) {
                // Matrices: rows 0-7 and 8-15 of columns 0-7, then of columns 8-15.
                ldmatrix_x4(a[i], xs + (warp_row + 16 * i + lane % 16) * PITCH + k + lane / 16 * 8);
            }
#pragma unroll
            for (u32 j = 0; j < MMA_COLUMNS; j += 2) {
                // Matrices: columns 0-7 and 8-15 of rows 0-7 of w, then of rows 8-15.
                u32 pair[4];
                ldmatrix_x4(pair, ws + (warp_column + 8 * j + lane / 16 * 8 + lane % 8) * PITCH + k +
                                      lane / 8 % 2 * 8);
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
    const Finish f{out, bias, mods, onto};
    const bool vector = vectors(p);
    for (u32 i = threadIdx.x; i < TILE_ROWS * TILE_COLUMNS / 8; i += THREADS) {
        const u32 row = i / (TILE_COLUMNS / 8), column = i % (TILE_COLUMNS / 8) * 8;
        if (row0 + row < p.rows && column0 + column < p.columns) {
            float y[8];
            load8(sums + row * SUM_PITCH + column, y);
            if (vector) {
                finish8<true>(p, f, row0 + row, column0 + column, y);
            } else {
                finish8<false>(p, f, row0 + row, column0 + column, y);
            }
        }
    }
}
