// What `modulate` and `modulate_rel_l1` share: out = layer_norm(x)·(1 + scale) + shift for one row, by one
// warp.
#pragma once
#include "common.cuh"

/// Parameters that describe the rows and their modulation.
struct Modulation {
    u32 rows, dim, rows_per_sample, mods_columns, shift_at, scale_at;
};

/// A row that is read three times: for the mean, for the deviations from it (so that a large mean costs no
/// precision) and for the result. Lane l of a warp deals with elements 4(l + 32i) .. +4; the first few of
/// these stay in registers, which is the whole of rows up to 1280, the rest comes from the cache.
template <bool VECTOR>
struct Row {
    static constexpr u32 KEPT = 10, STEP = 4 * 32;
    const f32 *x;
    u32 n;
    float kept[KEPT][4];

    DEVICE_MEMBER Row(const f32 *row, u32 length) : x(row), n(length) {
#pragma unroll
        for (u32 i = 0; i < KEPT; i++) {
            if (i * STEP >= n) {
                break; // short rows do not look at the rest
            }
            const u32 at = 4 * (threadIdx.x % 32) + i * STEP;
            if (at < n) {
                load<VECTOR>(x, at, n, kept[i]);
            }
        }
    }

    /// f(at, four elements from there); past the row's end they are 0.
    template <class F>
    DEVICE_MEMBER void each(F f) {
        const u32 first = 4 * (threadIdx.x % 32);
#pragma unroll
        for (u32 i = 0; i < KEPT; i++) {
            if (i * STEP >= n) {
                return;
            }
            if (first + i * STEP < n) {
                f(first + i * STEP, kept[i]);
            }
        }
        for (u32 at = first + KEPT * STEP; at < n; at += STEP) {
            float v[4];
            load<VECTOR>(x, at, n, v);
            f(at, v);
        }
    }
};

/// Hands each four elements of row `row` of the result to `sink(at, values)`.
template <bool VECTOR, class Sink>
DEVICE void modulate_row(const Modulation &p, float epsilon, const f32 *x, const f32 *mods, u32 row, Sink sink) {
    const u32 n = p.dim;
    mods += static_cast<u64>(row / p.rows_per_sample) * p.mods_columns;
    Row<VECTOR> values(x + static_cast<u64>(row) * n, n);
    float sum = 0.0f;
    values.each([&](u32, const float (&v)[4]) { sum += ::sum(v); });
    const float mean = warp_sum(sum) / n;
    float squares = 0.0f;
    values.each([&](u32 at, const float (&v)[4]) {
        float s[4];
#pragma unroll
        for (u32 i = 0; i < 4; i++) {
            const float deviation = VECTOR || at + i < n ? v[i] - mean : 0.0f;
            s[i] = deviation * deviation;
        }
        squares += ::sum(s);
    });
    const float inverse_deviation = 1.0f / sqrtf(warp_sum(squares) / n + epsilon);
    values.each([&](u32 at, const float (&v)[4]) {
        float scale[4], y[4];
        load<VECTOR>(mods + p.scale_at, at, n, scale);
        load<VECTOR>(mods + p.shift_at, at, n, y);
#pragma unroll
        for (u32 i = 0; i < 4; i++) {
            y[i] = fmaf((v[i] - mean) * inverse_deviation, 1.0f + scale[i], y[i]);
        }
        sink(at, y);
    });
}

/// Whether every row, of x as of mods, of f32, is a multiple of 16 bytes.
DEVICE bool vectors(const Modulation &p) {
    return (p.dim | p.mods_columns | p.shift_at | p.scale_at) % 4 == 0;
}
