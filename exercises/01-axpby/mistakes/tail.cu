// expect: out of bounds: thread
// The last block has more threads than there are elements.
// steep: tile = 1, 1, 256
// steep: threads = 256
#include "common.cuh"

struct Params {
    u32 elements, in_place;
    f32 a, b;
};

extern "C" __global__ void axpby(f32 *out, const f32 *x, const f32 *y, Params p, Gate gate) {
    if (gated_off(gate)) {
        return;
    }
    const u32 i = blockIdx.x * blockDim.x + threadIdx.x;
    const float by = p.b * y[i]; // here
    float ax = 0.0f;
    if (p.a != 0.0f) {
        ax = p.a * (p.in_place ? out[i] : x[i]);
    }
    out[i] = ax + by;
}
