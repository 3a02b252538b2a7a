// out = table[index]: one entry of a table that was computed for all steps at once. Four elements per thread.
#include "common.cuh"

struct Params {
    u32 elements, index;
};

template <bool VECTOR>
DEVICE void copy4(f32 *out, const f32 *entry, u32 at, u32 n) {
    float x[4];
    load<VECTOR>(entry, at, n, x);
    store<VECTOR>(out, at, n, x);
}

extern "C" __global__ void __launch_bounds__(256)
    take(f32 *__restrict__ out, const f32 *__restrict__ table, Params p, Gate gate) {
    if (gated_off(gate)) {
        return;
    }
    const f32 *entry = table + p.index * p.elements;
    const u32 at = 4 * (blockIdx.x * blockDim.x + threadIdx.x);
    // Entries begin at a whole vector only where their length is one.
    if (at + 4 <= p.elements && p.elements % 4 == 0) {
        copy4<true>(out, entry, at, p.elements);
    } else if (at < p.elements) {
        copy4<false>(out, entry, at, p.elements);
    }
}
