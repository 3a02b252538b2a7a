// out = epilogue(x·wᵀ + bias), a tile of 64×64 outputs per block, 4×4 of them per thread in registers: 8 loads of 16 bytes
// from shared memory for 64 products, where the exercise before has two loads of 4 bytes for one.
// steep: tile = 1, 64, 64
// steep: threads = 256
#include "linear.cuh" // Params, Finish and finish(): the bias, and what happens to a sum before it is stored

constexpr u32 SIDE = 64;         // of a tile
constexpr u32 DEPTH = 16;        // of the products that are in shared memory at a time
constexpr u32 PITCH = DEPTH + 4; // floats from row to row in shared memory
constexpr u32 THREADS = 256;

// Rows first .. first + 64 of a matrix, columns k0 .. k0 + 16; zeros past the ends.
DEVICE void bring(float (&to)[SIDE][PITCH], const T *from, u32 first, u32 rows, u32 k0, u32 depth) {
    for (u32 i = threadIdx.x; i < SIDE * DEPTH; i += THREADS) {
        const u32 row = i / DEPTH, k = i % DEPTH;
        const bool inside = first + row < rows && k0 + k < depth;
        to[row][k] = inside ? to_f32(from[(first + row) * depth + k0 + k]) : 0.0f;
    }
}

DEVICE void load4(const float *from, float (&v)[4]) {
    const Quad quad = load16(from);
#pragma unroll
    for (u32 i = 0; i < 4; i++) {
        v[i] = __uint_as_float(quad.word[i]);
    }
}

extern "C" __global__ void linear(O *out, const T *x, const T *w, const f32 *bias, const f32 *mods, const f32 *onto,
                                  Params p, Gate gate) {
    __shared__ __align__(16) float xs[SIDE][PITCH], ws[SIDE][PITCH];
    if (gated_off(gate)) {
        return;
    }
    const u32 across = threadIdx.x % 16, down = threadIdx.x / 16;
    const u32 row0 = blockIdx.y * SIDE, column0 = blockIdx.x * SIDE;
    // Rows down, down + 16, .. and columns across, across + 16, ..: in steps of 20 floats, the rows of ws that eight
    // neighbours read lie in different banks, and neighbours store neighbours.
    float sum[4][4] = {};
    for (u32 k0 = 0; k0 < p.depth; k0 += DEPTH) {
        bring(xs, x, row0, p.rows, k0, p.depth);
        bring(ws, w, column0, p.columns, k0, p.depth);
        __syncthreads();
        for (u32 k = 0; k < DEPTH; k += 4) {
            float a[4][4], b[4][4];
            // All indices below are known to the compiler: only then do arrays live in registers.
#pragma unroll
            for (u32 i = 0; i < 4; i++) {
                load4(&xs[down + 16 * i][k], a[i]);
                load4(&ws[across + 16 * i][k], b[i]);
            }
#pragma unroll
            for (u32 i = 0; i < 4; i++) {
#pragma unroll
                for (u32 j = 0; j < 4; j++) {
#pragma unroll
                    for (u32 e = 0; e < 4; e++) {
                        sum[i][j] = fmaf(a[i][e], b[j][e], sum[i][j]);
                    }
                }
            }
        }
        __syncthreads();
    }
#pragma unroll
    for (u32 i = 0; i < 4; i++) {
#pragma unroll
        for (u32 j = 0; j < 4; j++) {
            const u32 row = row0 + down + 16 * i, column = column0 + across + 16 * j;
            if (row < p.rows && column < p.columns) {
                finish(p, Finish{out, bias, mods, onto}, row, column, sum[i][j]);
            }
        }
    }
}
