// residual = out − in: what the transformer stack did to its input. Eight elements per thread.
#include "common.cuh"

struct Params {
    u32 elements;
};

template <bool VECTOR>
DEVICE void subtract8(f32 *residual, const f32 *out, const f32 *in, u32 at, u32 n) {
    float a[8], b[8];
    load8<VECTOR>(out, at, n, a);
    load8<VECTOR>(in, at, n, b);
#pragma unroll
    for (int i = 0; i < 8; i++) {
        a[i] -= b[i];
    }
    store8<VECTOR>(residual, at, n, a);
}

extern "C" __global__ void __launch_bounds__(256)
    residual_store(f32 *__restrict__ residual, const f32 *__restrict__ stack_out,
                   const f32 *__restrict__ stack_in, Params p, Gate gate) {
    if (gated_off(gate)) {
        return;
    }
    const u32 at = 8 * (blockIdx.x * blockDim.x + threadIdx.x);
    if (at + 8 <= p.elements) {
        subtract8<true>(residual, stack_out, stack_in, at, p.elements);
    } else if (at < p.elements) {
        subtract8<false>(residual, stack_out, stack_in, at, p.elements);
    }
}
