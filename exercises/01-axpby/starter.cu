// out = a·x + b·y
//
// Try it: steep try starter.cu
// expect: out: element 0 is
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
    // Yours: element blockIdx.x * blockDim.x + threadIdx.x, if there is one.
}
