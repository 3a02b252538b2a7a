// out = softmax(q·kᵀ / √h)·v on the tensor cores, in the shape of FlashAttention-2 (arXiv 2307.08691). f16
// and bf16, h a multiple of eight.
//
//     each warp has 16·ROW_TILES queries to itself and goes over all keys; a block's warps share the loads
//     for every KEYS keys, loaded by cp.async while the tile before is worked on:
//         s = q·kᵀ in registers, by mma; where there is no key, −∞
//         m' = max(m, row maxima);  r = 2^(m − m');  w = 2^(s − m');  l = l·r + Σ w
//         o = o·r, if a row of the warp has a larger maximum than before
//         o += w·v: the sums of the first product are in place as operands of the second, rounded to T
//     out = o / l, through shared memory for 16-byte stores
//
// The first product is over h, in steps of 16: h = 72 is padded to 80 with zeros. The second makes h/8 tiles
// of eight channels and needs no padding. Rows in shared memory are an odd number of 16-byte chunks apart, so
// that the eight rows of an ldmatrix lie in different banks. Short sequences run the same text with fewer
// warps and keys.
#include "attention.cuh"

#ifndef WARPS
#define WARPS 4
#define ROW_TILES 2
#endif
#ifndef KEYS
#define KEYS (HEAD > 128 ? 32 : HEAD > 80 ? 48 : 64) // as many as the registers hold
#endif

constexpr u32 THREADS = 32 * WARPS, WARP_QUERIES = 16 * ROW_TILES, QUERIES = WARPS * WARP_QUERIES;
constexpr u32 STEPS = (HEAD + 15) / 16; // of the first product
constexpr u32 PITCH = 16 * STEPS + 8;   // elements from row to row in shared memory
// Whether a warp keeps its queries in registers, which short heads leave free, and does not load them for every tile of keys.
constexpr bool KEPT = WARPS > 1 && ROW_TILES * STEPS <= 8;
constexpr u32 KEY_TILES = KEYS / 8, CHANNEL_TILES = HEAD / 8;
constexpr u32 STAGE = 2 * KEYS * PITCH; // keys and values
// Dynamic shared memory: the queries, two stages.
constexpr u32 LAYOUT_BYTES = 2 * (QUERIES * PITCH + 2 * STAGE);
static_assert(HEAD % 8 == 0 && KEYS % 16 == 0, "whole 16-byte chunks, whole steps of the second product");
static_assert(LAYOUT_BYTES <= 163 << 10, "more shared memory than a block of sm_80 can have");

/// Starts to load N rows of the queries, keys or values, `pitch` elements apart; zeros for those after the first `rows`.
template <u32 N>
DEVICE void load_async(T *to, const T *from, u32 pitch, u32 rows) {
    constexpr u32 COUNT = N * CHANNEL_TILES;
#pragma unroll
    for (u32 turn = 0; turn < (COUNT + THREADS - 1) / THREADS; turn++) {
        const u32 i = turn * THREADS + threadIdx.x, row = i / CHANNEL_TILES, c = i % CHANNEL_TILES * 8;
        if (COUNT % THREADS == 0 || i < COUNT) {
            // No more than the tensor has elements, 2^31, where there is such a row.
            const u32 at = row < rows ? row * pitch + c : 0;
            cp_async16(to + row * PITCH + c, from + at, row < rows ? 16 : 0);
        }
    }
}

/// Zeros the channels behind the last one, which no copy reaches.
template <u32 N>
DEVICE void clear_padding(T *to) {
    if (HEAD % 16 != 0) {
        for (u32 row = threadIdx.x; row < N; row += THREADS) {
            store16(to + row * PITCH + HEAD, Quad{});
        }
    }
}

/// The largest or the sum of x over the four lanes that share a row of an mma tile.
template <class F>
DEVICE float over_row(float x, F combine) {
    x = combine(x, __shfl_xor_sync(0xffffffffu, x, 1));
    return combine(x, __shfl_xor_sync(0xffffffffu, x, 2));
}

extern "C" __global__ void __launch_bounds__(THREADS)
    attention(T *__restrict__ out, const T *__restrict__ qkv, Params p, Gate gate) {
    DYNAMIC_SHARED(shared, LAYOUT_BYTES);
    if (gated_off(gate)) {
        return;
    }
    T *const qs = reinterpret_cast<T *>(shared), *const stages = qs + QUERIES * PITCH;
    const auto [number, head, query0] = place(p, QUERIES);
    const Sequence sequence(p, number, head);
    const u32 lane = threadIdx.x % 32, pitch = 3 * p.stride * sequence.dim;
    T *const my_queries = qs + threadIdx.x / 32 * WARP_QUERIES * PITCH;

    const T *from = qkv + sequence.in(0, 1);
    const auto load_stage = [&](u32 key0) {
        if (key0 < p.length) {
            T *const keys = stages + key0 / KEYS % 2 * STAGE;
            load_async<KEYS>(keys, from, pitch, p.length - key0);
            load_async<KEYS>(keys + KEYS * PITCH, from + sequence.dim, pitch, p.length - key0);
            from += static_cast<u64>(KEYS) * pitch;
        }
        cp_async_commit();
    };
    clear_padding<QUERIES>(qs);
    clear_padding<KEYS>(stages);
    clear_padding<KEYS>(stages + STAGE);
    load_async<QUERIES>(qs, qkv + sequence.in(query0, 0), pitch, p.length - query0);
    if (KEPT) {
        cp_async_commit();
    }
    load_stage(0);
    const auto load_queries = [&](u32 (&q)[ROW_TILES][4], u32 step) {
#pragma unroll
        for (u32 i = 0; i < ROW_TILES; i++) {
            ldmatrix_x4(q[i], my_queries + (16 * i + lane % 16) * PITCH + 16 * step + lane / 16 * 8);
        }
    };
    u32 kept[KEPT ? STEPS : 1][ROW_TILES][4];
    if (KEPT) {
        // The queries have arrived; the keys may be on their way.
        cp_async_wait<1>();
        __syncthreads();
#pragma unroll
        for (u32 step = 0; step < STEPS; step++) {
            load_queries(kept[KEPT ? step : 0], step);
        }
    }

    const float scale = score_scale();
    float o[ROW_TILES][CHANNEL_TILES][4] = {};
    // Of rows g and g + 8 of each tile. The sums are this lane's share until the end.
    float most[ROW_TILES][2], total[ROW_TILES][2] = {};
#pragma unroll
    for (u32 i = 0; i < ROW_TILES; i++) {
        most[i][0] = most[i][1] = -infinity();
    }
    for (u32 key0 = 0; key0 < p.length; key0 += KEYS) {
        cp_async_wait<0>();
        // Everybody's part of this stage has arrived, and everybody is done with the other one.
        __syncthreads();
        load_stage(key0 + KEYS);
        const T *const keys = stages + key0 / KEYS % 2 * STAGE, *const values = keys + KEYS * PITCH;

        float s[ROW_TILES][KEY_TILES][4] = {};
        // NVRTC 12.9 runs out of registers for Blackwell where it unrolls this for long heads.
#pragma unroll (HEAD > 80 && __CUDA_ARCH__ >= 1000 ? 1 : STEPS)
        for (u32 step = 0; step < STEPS; step++) {
            u32 (&q)[ROW_TILES][4] = kept[KEPT ? step : 0];
            if (!KEPT) {
                load_queries(q, step);
            }
#pragma unroll
            for (u32 j = 0; j < KEY_TILES; j += 2) {
                // Keys 0-7 and 8-15 of the pair, channels 0-7 and 8-15 of the step.
                u32 pair[4];
                ldmatrix_x4(pair,
                            keys + (8 * j + lane / 16 * 8 + lane % 8) * PITCH + 16 * step + lane / 8 % 2 * 8);
                const u32 k[2][2] = {{pair[0], pair[1]}, {pair[2], pair[3]}};
#pragma unroll
                for (u32 i = 0; i < ROW_TILES; i++) {
                    mma_m16n8k16(s[i][j], q[i], k[0], T());
                    mma_m16n8k16(s[i][j + 1], q[i], k[1], T());
                }
            }
        }

        if (key0 + KEYS > p.length) {
#pragma unroll
            for (u32 j = 0; j < KEY_TILES; j++) {
#pragma unroll
                for (u32 e = 0; e < 4; e++) {
                    if (key0 + 8 * j + lane % 4 * 2 + e % 2 >= p.length) {
#pragma unroll
                        for (u32 i = 0; i < ROW_TILES; i++) {
                            s[i][j][e] = -infinity();
                        }
                    }
                }
            }
        }
        // Rows whose maximum stays need no rescaling: their factor is 1.
        float rescale[ROW_TILES][2];
        bool moved = false;
#pragma unroll
        for (u32 i = 0; i < ROW_TILES; i++) {
#pragma unroll
            for (u32 half = 0; half < 2; half++) {
                float now = most[i][half];
#pragma unroll
                for (u32 j = 0; j < KEY_TILES; j++) {
                    now = fmaxf(now, fmaxf(s[i][j][2 * half], s[i][j][2 * half + 1]));
                }
                now = over_row(now, fmaxf);
                moved |= now != most[i][half];
                rescale[i][half] = exp2_approx((most[i][half] - now) * scale);
                most[i][half] = now;
                float sum = 0.0f;
#pragma unroll
                for (u32 j = 0; j < KEY_TILES; j++) {
#pragma unroll
                    for (u32 e = 2 * half; e < 2 * half + 2; e++) {
                        // The rounding of now·scale is common to a row and cancels in the end.
                        s[i][j][e] = exp2_approx(fmaf(s[i][j][e], scale, -now * scale));
                        sum += s[i][j][e];
                    }
                }
                total[i][half] = fmaf(total[i][half], rescale[i][half], sum);
            }
        }
        if (__any_sync(0xffffffffu, moved)) {
#pragma unroll
            for (u32 i = 0; i < ROW_TILES; i++) {
#pragma unroll
                for (u32 n = 0; n < CHANNEL_TILES; n++) {
#pragma unroll
                    for (u32 e = 0; e < 4; e++) {
                        o[i][n][e] *= rescale[i][e / 2];
                    }
                }
            }
        }

#pragma unroll
        for (u32 step = 0; step < KEYS / 16; step++) {
            u32 w[ROW_TILES][4];
#pragma unroll
            for (u32 i = 0; i < ROW_TILES; i++) {
                const float (&a)[4] = s[i][2 * step], (&b)[4] = s[i][2 * step + 1];
                w[i][0] = pack2(a[0], a[1], T());
                w[i][1] = pack2(a[2], a[3], T());
                w[i][2] = pack2(b[0], b[1], T());
                w[i][3] = pack2(b[2], b[3], T());
            }
            const T *const row = values + (16 * step + lane % 16) * PITCH;
#pragma unroll
            for (u32 n = 0; n < CHANNEL_TILES / 2 * 2; n += 2) {
                // Keys 0-7 and 8-15 of the step, channels 0-7 and 8-15 of the pair.
                u32 pair[4];
                ldmatrix_x4_transposed(pair, row + 8 * n + lane / 16 * 8);
                const u32 v[2][2] = {{pair[0], pair[1]}, {pair[2], pair[3]}};
#pragma unroll
                for (u32 i = 0; i < ROW_TILES; i++) {
                    mma_m16n8k16(o[i][n], w[i], v[0], T());
                    mma_m16n8k16(o[i][n + 1], w[i], v[1], T());
                }
            }
            if (CHANNEL_TILES % 2 == 1) {
                u32 v[2];
                ldmatrix_x2_transposed(v, row + 8 * (CHANNEL_TILES - 1));
#pragma unroll
                for (u32 i = 0; i < ROW_TILES; i++) {
                    mma_m16n8k16(o[i][CHANNEL_TILES - 1], w[i], v, T());
                }
            }
        }
    }

    // The results take the place of the queries, which only this warp has read.
    __syncwarp();
#pragma unroll
    for (u32 i = 0; i < ROW_TILES; i++) {
#pragma unroll
        for (u32 half = 0; half < 2; half++) {
            const float sum = over_row(total[i][half], [](float a, float b) { return a + b; });
            const float inverse = 1.0f / sum;
            T *const row = my_queries + (16 * i + 8 * half + lane / 4) * PITCH + lane % 4 * 2;
#pragma unroll
            for (u32 n = 0; n < CHANNEL_TILES; n++) {
                const float *const both = &o[i][n][2 * half];
                *reinterpret_cast<u32 *>(row + 8 * n) = pack2(both[0] * inverse, both[1] * inverse, T());
            }
        }
    }
    __syncwarp();
    for (u32 i = lane; i < WARP_QUERIES * CHANNEL_TILES; i += 32) {
        const u32 row = i / CHANNEL_TILES, c = i % CHANNEL_TILES * 8;
        const u32 query = query0 + threadIdx.x / 32 * WARP_QUERIES + row;
        if (query < p.length) {
            store16(out + sequence.out(query) + c, load16(my_queries + row * PITCH + c));
        }
    }
}
