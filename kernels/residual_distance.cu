// partials[run] = (Σ|(out − in) − kept|, Σ|kept|): how far what a block added is from what it added once before.
// One run of the elements per block.
#include "common.cuh"

struct Params {
    u32 elements, runs;
};

constexpr u32 THREADS = 512, STEP = 8 * THREADS;

/// Eight elements; f32 within, f64 across: equal addends all round the same way.
template <bool VECTOR>
DEVICE void step(const f32 *out, const f32 *in, const f32 *kept, u32 at, u32 n, double &change, double &size) {
    float a[8], b[8], was[8];
    load8<VECTOR>(out, at, n, a);
    load8<VECTOR>(in, at, n, b);
    load8<VECTOR>(kept, at, n, was);
#pragma unroll
    for (u32 i = 0; i < 8; i++) {
        a[i] = fabsf((a[i] - b[i]) - was[i]);
        was[i] = fabsf(was[i]);
    }
    change += sum8(a);
    size += sum8(was);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    residual_distance(f32 *__restrict__ partials, const f32 *__restrict__ block_out,
                      const f32 *__restrict__ block_in, const f32 *__restrict__ kept, Params p, Gate gate) {
    __shared__ double scratch[2][THREADS / 32];
    if (gated_off(gate)) {
        return;
    }
    const u32 run = blockIdx.x, n = p.elements;
    // Shares are runs of eight elements, and the last one takes what is left over.
    const u32 eights = n / 8 + (n % 8 != 0);
    const u32 begin = 8 * share(eights, p.runs, run), end = min(8 * share(eights, p.runs, run + 1), n);
    double change = 0.0, size = 0.0;
    u32 at = begin + 8 * threadIdx.x;
    for (; at + 8 <= end; at += STEP) {
        step<true>(block_out, block_in, kept, at, n, change, size);
    }
    if (at < end) {
        step<false>(block_out, block_in, kept, at, n, change, size);
    }
    change = block_sum(change, scratch[0]);
    size = block_sum(size, scratch[1]);
    if (threadIdx.x == 0) {
        partials[2 * run] = static_cast<float>(change);
        partials[2 * run + 1] = static_cast<float>(size);
    }
}
