// What all sources of `linear` share: its parameters, and what happens to y = x·wᵀ + bias before it is
// stored.
#pragma once
#include "common.cuh"

struct Params {
    u32 rows, columns, depth, epilogue;
    // Rows that share a row of modulation, its length, and where the alpha starts in it.
    u32 rows_per_sample, mods_columns, alpha_at;
};

enum Epilogue { BIAS, SILU, GELU, RESIDUAL, RESIDUAL_ONTO };

/// The operands of the epilogue; those that it does not use are not read.
struct Finish {
    O *out;
    const f32 *bias, *mods, *onto;
};

/// One number: `sum` is element (row, column) of x·wᵀ.
DEVICE void finish(const Params &p, const Finish &f, u32 row, u32 column, float sum) {
    const u64 at = static_cast<u64>(row) * p.columns + column;
    float y = sum + f.bias[column];
    if (p.epilogue == SILU) {
        y = silu(y);
    } else if (p.epilogue == GELU) {
        y = gelu(y);
    } else if (p.epilogue >= RESIDUAL) {
        const float alpha =
            f.mods[static_cast<u64>(row / p.rows_per_sample) * p.mods_columns + p.alpha_at + column];
        y = fmaf(alpha, y, p.epilogue == RESIDUAL ? to_f32(f.out[at]) : f.onto[at]);
    }
    put(f.out[at], y);
}

/// Four neighbours in a row, which may end before the last of them. VECTOR: all rows are multiples of four.
template <bool VECTOR>
DEVICE void finish4(const Params &p, const Finish &f, u32 row, u32 column, float (&y)[4]) {
    const u32 n = p.columns;
    const u64 start = static_cast<u64>(row) * n;
    float other[4];
    load<VECTOR>(f.bias, column, n, other);
#pragma unroll
    for (int i = 0; i < 4; i++) {
        y[i] += other[i];
    }
    if (p.epilogue == SILU) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            y[i] = silu(y[i]);
        }
    } else if (p.epilogue == GELU) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            y[i] = gelu(y[i]);
        }
    } else if (p.epilogue >= RESIDUAL) {
        load<VECTOR>(f.mods + static_cast<u64>(row / p.rows_per_sample) * p.mods_columns + p.alpha_at, column,
                      n, other);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            y[i] *= other[i];
        }
        if (p.epilogue == RESIDUAL) {
            load<VECTOR>(f.out + start, column, n, other);
        } else {
            load<VECTOR>(f.onto + start, column, n, other);
        }
#pragma unroll
        for (int i = 0; i < 4; i++) {
            y[i] += other[i];
        }
    }
    store<VECTOR>(f.out + start, column, n, y);
}

/// Whether rows of the output and of the modulation are multiples of four.
DEVICE bool vectors(const Params &p) {
    return p.columns % 4 == 0 && (p.epilogue < RESIDUAL || (p.mods_columns | p.alpha_at) % 4 == 0);
}
