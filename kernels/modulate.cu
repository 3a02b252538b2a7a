// out = layer_norm(x)·(1 + scale) + shift, f32 statistics in two passes. One warp per row, eight
// rows per block.
#include "modulate.cuh"

struct Params {
    Modulation modulation;
    f32 epsilon;
};

template <bool VECTOR>
DEVICE void rows_of(T *out, const f32 *x, const f32 *mods, const Params &p) {
    const u32 row = blockIdx.x * 8 + threadIdx.x / 32;
    const Modulation &m = p.modulation;
    if (row >= m.rows) {
        return;
    }
    out += static_cast<u64>(row) * m.dim;
    modulate_row<VECTOR>(m, p.epsilon, x, mods, row,
                         [&](u32 at, const float (&y)[4]) { store<VECTOR>(out, at, m.dim, y); });
}

extern "C" __global__ void __launch_bounds__(256)
    modulate(T *__restrict__ out, const f32 *__restrict__ x, const f32 *__restrict__ mods, Params p,
             Gate gate) {
    if (gated_off(gate)) {
        return;
    }
    if (vectors(p.modulation)) {
        rows_of<true>(out, x, mods, p);
    } else {
        rows_of<false>(out, x, mods, p);
    }
}
