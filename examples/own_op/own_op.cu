// y = x / √(1 + x²), an element per thread.
#include "common.cuh"

extern "C" __global__ void soft_clip(f32 *__restrict__ y, const f32 *__restrict__ x, u32 elements, Gate gate) {
    const u32 i = blockIdx.x * blockDim.x + threadIdx.x;
    if (gated_off(gate) || i >= elements) {
        return;
    }
    y[i] = x[i] / sqrtf(fmaf(x[i], x[i], 1.0f));
}
