// out = epilogue(x·wᵀ + bias) on the tensor cores: mma.sync, ldmatrix, and copies that arrive while the warps compute
//
// Try it: steep try starter.cu
// expect: out: element 0 is NaN
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
        cp_async16(&to[row][k], inside ? from + (first + row) * depth + k0 + k : from, inside ? 16 : 0);
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
    // A warp makes 32×32 of the outputs: two mma tiles down, four across.
    float sum[2][4][4] = {};
    for (u32 k0 = 0; k0 < p.depth; k0 += DEPTH) {
        // Yours: bring(stages[..].x, x, row0, p.rows, k0, p.depth) and the same for w, cp_async_commit(), cp_async_wait<0>(),
        // a barrier; then ldmatrix_x4 and mma_m16n8k16 for every 16 of the products.
    }
    // Yours: sum[i][j] holds (g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1) of its mma tile, g = lane / 4, t = lane % 4.
}
