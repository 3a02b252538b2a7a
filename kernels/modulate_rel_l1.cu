// cur = modulate(x); partials = (Σ|cur − signal|, Σ|signal|); signal = cur. One run of rows per block, one
// warp per row.
//
// The gate of TeaCache rides on a kernel that runs anyway: all it adds is reading the previous signal.
#include "modulate.cuh"

struct Params {
    Modulation modulation;
    u32 runs;
};

constexpr u32 WARPS = 8;
// Blocks at a time, which share the registers. Turing needs more: it rounds to bf16 in integers.
#if __CUDA_ARCH__ >= 800 || defined(STEEP_EMULATOR)
constexpr u32 BLOCKS = 2;
#else
constexpr u32 BLOCKS = 1;
#endif

template <bool VECTOR>
DEVICE void run_of_rows(T *signal, const f32 *x, const f32 *mods, const Params &p, double &change,
                        double &size) {
    const Modulation &m = p.modulation;
    const u32 run = blockIdx.x, end = share(m.rows, p.runs, run + 1);
    // f32 for a few elements in a row, f64 from then on: equal addends all round the same way.
    float changed = 0.0f, sized = 0.0f;
    for (u32 row = share(m.rows, p.runs, run) + threadIdx.x / 32; row < end; row += WARPS) {
        T *const anchor = signal + static_cast<u64>(row) * m.dim;
        modulate_row<VECTOR>(m, 1e-6f, x, mods, row, [&](u32 at, const float (&y)[4]) {
            float before[4], changes[4];
            load<VECTOR>(anchor, at, m.dim, before);
#pragma unroll
            for (u32 i = 0; i < 4; i++) {
                changes[i] = VECTOR || at + i < m.dim ? fabsf(rounded<T>(y[i]) - before[i]) : 0.0f;
                before[i] = fabsf(before[i]);
            }
            changed += sum(changes);
            sized += sum(before);
            if (at / Row<VECTOR>::STEP % 2 != 0) {
                change += changed;
                size += sized;
                changed = sized = 0.0f;
            }
            store<VECTOR>(anchor, at, m.dim, y);
        });
    }
    change += changed;
    size += sized;
}

extern "C" __global__ void __launch_bounds__(32 * WARPS, BLOCKS)
    modulate_rel_l1(T *__restrict__ signal, f32 *__restrict__ partials, const f32 *__restrict__ x,
                    const f32 *__restrict__ mods, Params p, Gate gate) {
    __shared__ double scratch[WARPS][2];
    if (gated_off(gate)) {
        return;
    }
    double change = 0.0, size = 0.0;
    if (vectors(p.modulation)) {
        run_of_rows<true>(signal, x, mods, p, change, size);
    } else {
        run_of_rows<false>(signal, x, mods, p, change, size);
    }
    block_sums(change, size, scratch);
    if (threadIdx.x == 0) {
        partials[2 * blockIdx.x] = static_cast<float>(change);
        partials[2 * blockIdx.x + 1] = static_cast<float>(size);
    }
}
