// out = epilogue(x·wᵀ + bias), a tile of 64×64 outputs per block, 4×4 of them per thread in registers
//
// Try it: steep try starter.cu
// expect: out: element 0 is NaN
// steep: tile = 1, 64, 64
// steep: threads = 256
#include "linear.cuh" // Params, Finish and finish(): the bias, and what happens to a sum before it is stored

constexpr u32 SIDE = 64;         // of a tile
constexpr u32 DEPTH = 16;        // of the products that are in shared memory at a time
constexpr u32 PITCH = DEPTH + 4; // floats from row to row in shared memory
constexpr u32 THREADS = 256;

extern "C" __global__ void linear(O *out, const T *x, const T *w, const f32 *bias, const f32 *mods, const f32 *onto,
                                  Params p, Gate gate) {
    __shared__ __align__(16) float xs[SIDE][PITCH], ws[SIDE][PITCH];
    if (gated_off(gate)) {
        return;
    }
    const u32 across = threadIdx.x % 16, down = threadIdx.x / 16;
    const u32 row0 = blockIdx.y * SIDE, column0 = blockIdx.x * SIDE;
    float sum[4][4] = {};
    for (u32 k0 = 0; k0 < p.depth; k0 += DEPTH) {
        // Yours: each thread brings four elements of x and four of w.
        xs[down][across] = ws[down][across] = 0.0f;
        // Then, for every four of the products: load16(&xs[row][k]) for four rows, the same of ws for four columns, and 64
        // multiplications.
    }
    // Yours: finish(p, Finish{out, bias, mods, onto}, row, column, sum[i][j]) for each of the 16 that is an output.
}
