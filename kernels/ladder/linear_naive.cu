// out = epilogue(x·wᵀ + bias), one thread per number. Any shape, any dtype.
//
// The first rung: every number of x and w is read from memory as often as it is used.
#include "linear.cuh"

extern "C" __global__ void __launch_bounds__(256)
    linear(O *out, const T *__restrict__ x, const T *__restrict__ w, const f32 *__restrict__ bias,
           const f32 *__restrict__ mods, const f32 *__restrict__ onto, Params p, Gate gate) {
    const u32 row = blockIdx.y, column = blockIdx.x * blockDim.x + threadIdx.x;
    if (gated_off(gate) || column >= p.columns) {
        return;
    }
    x += static_cast<u64>(row) * p.depth;
    w += static_cast<u64>(column) * p.depth;
    float sum = 0.0f;
    for (u32 k = 0; k < p.depth; k++) {
        sum = fmaf(to_f32(x[k]), to_f32(w[k]), sum);
    }
    finish(p, Finish{out, bias, mods, onto}, row, column, sum);
}
