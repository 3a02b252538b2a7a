// out = epilogue(x·wᵀ + bias), one thread per output.
// steep: tile = 1, 1, 256
// steep: threads = 256
#include "linear.cuh" // Params, Finish and finish(): the bias, and what happens to a sum before it is stored

extern "C" __global__ void linear(O *out, const T *x, const T *w, const f32 *bias, const f32 *mods, const f32 *onto,
                                  Params p, Gate gate) {
    if (gated_off(gate)) {
        return;
    }
    const u32 row = blockIdx.y, column = blockIdx.x * blockDim.x + threadIdx.x;
    if (column >= p.columns) {
        return;
    }
    // Products of 16-bit numbers are summed in f32: in their own type a sum of a few hundred has lost its digits.
    float sum = 0.0f;
    for (u32 k = 0; k < p.depth; k++) {
        sum = fmaf(to_f32(x[row * p.depth + k]), to_f32(w[column * p.depth + k]), sum);
    }
    finish(p, Finish{out, bias, mods, onto}, row, column, sum);
}
