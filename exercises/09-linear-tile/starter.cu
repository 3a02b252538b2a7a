// out = epilogue(x·wᵀ + bias), a tile of 16×16 outputs per block, through shared memory
//
// Try it: steep try starter.cu
// expect: out: element 0 is NaN
// steep: tile = 1, 16, 16
// steep: threads = 256
#include "linear.cuh" // Params, Finish and finish(): the bias, and what happens to a sum before it is stored

constexpr u32 SIDE = 16;

extern "C" __global__ void linear(O *out, const T *x, const T *w, const f32 *bias, const f32 *mods, const f32 *onto,
                                  Params p, Gate gate) {
    __shared__ float xs[SIDE][SIDE], ws[SIDE][SIDE];
    if (gated_off(gate)) {
        return;
    }
    const u32 across = threadIdx.x % SIDE, down = threadIdx.x / SIDE;
    const u32 row = blockIdx.y * SIDE + down, column = blockIdx.x * SIDE + across;
    float sum = 0.0f;
    for (u32 k0 = 0; k0 < p.depth; k0 += SIDE) {
        // Yours: each thread brings one element of x and one of w, zero where there is none; then all add 16 products.
        xs[down][across] = ws[down][across] = 0.0f;
    }
    // Yours: if there is such an output, finish(p, Finish{out, bias, mods, onto}, row, column, sum);
}
