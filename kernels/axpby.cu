// out = a·x + b·y; in place, x is `out` itself. Four elements per thread.
#include "common.cuh"

struct Params {
    u32 elements, in_place;
    f32 a, b;
};

template <bool VECTOR>
DEVICE void axpby4(f32 *out, const f32 *x, const f32 *y, u32 at, const Params &p) {
    float sum[4] = {}, term[4];
    // Where a is 0, x may hold anything.
    if (p.a != 0.0f) {
        load<VECTOR>(p.in_place ? out : x, at, p.elements, sum);
    }
    load<VECTOR>(y, at, p.elements, term);
#pragma unroll
    for (int i = 0; i < 4; i++) {
        sum[i] = fmaf(p.b, term[i], p.a * sum[i]);
    }
    store<VECTOR>(out, at, p.elements, sum);
}

extern "C" __global__ void __launch_bounds__(256)
    axpby(f32 *__restrict__ out, const f32 *__restrict__ x, const f32 *__restrict__ y, Params p, Gate gate) {
    if (gated_off(gate)) {
        return;
    }
    const u32 at = 4 * (blockIdx.x * blockDim.x + threadIdx.x);
    if (at + 4 <= p.elements) {
        axpby4<true>(out, x, y, at, p);
    } else if (at < p.elements) {
        axpby4<false>(out, x, y, at, p);
    }
}
