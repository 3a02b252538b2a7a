// out = softmax(q·kᵀ / √h)·v, tiles of queries and keys in shared memory, online softmax per tile. Any shape,
// any dtype, f32 arithmetic.
//
//     shared: 64 queries
//     for every 32 keys:
//         shared: the keys, and s = q·kᵀ by register tiles of 4 × 2
//         the 16 threads of a row: its maximum, weights 2^(s − m) into shared memory, their sum
//         shared: the values in place of the keys, and o = o·r + weights·v by register tiles of 4 × h/16
//
// Against the online one, a key read from memory serves 64 queries, and one read from shared memory serves
// four. This is what f32 runs by default; tensor cores have no f32.
#include "attention.cuh"

constexpr u32 QUERIES = 64, KEYS = 32, THREADS = 256;
constexpr u32 WIDTH = (HEAD + 3) / 4 * 4;  // channels in whole vectors of four
constexpr u32 PITCH = WIDTH + 4;           // floats from row to row
constexpr u32 CHANNELS = (HEAD + 15) / 16; // of a thread
constexpr u32 KEY_PITCH = KEYS + 4;
// Dynamic shared memory: queries, keys or values, weights.
constexpr u32 LAYOUT_BYTES = 4 * ((QUERIES + KEYS) * PITCH + QUERIES * KEY_PITCH);
static_assert(LAYOUT_BYTES <= 227 << 10, "heads this long need another source");

/// Rows first .. first + N of the queries, keys or values; zeros past the end.
template <u32 N>
DEVICE void load_rows(float *to, const T *qkv, const Sequence &s, u32 which, u32 first, u32 length) {
    for (u32 i = threadIdx.x; i < N * WIDTH; i += THREADS) {
        const u32 row = i / WIDTH, c = i % WIDTH;
        const bool inside = first + row < length && c < HEAD;
        to[row * PITCH + c] = inside ? to_f32(qkv[s.in(first + row, which) + c]) : 0.0f;
    }
}

/// The largest or the sum of x over the sixteen threads that share queries.
template <class F>
DEVICE float over_row(float x, F combine) {
#pragma unroll
    for (int lanes = 8; lanes > 0; lanes /= 2) {
        x = combine(x, __shfl_xor_sync(0xffffffffu, x, lanes));
    }
    return x;
}

extern "C" __global__ void __launch_bounds__(THREADS, 2)
    attention(T *__restrict__ out, const T *__restrict__ qkv, Params p, Gate gate) {
    DYNAMIC_SHARED(shared, LAYOUT_BYTES);
    if (gated_off(gate)) {
        return;
    }
    float *const qs = reinterpret_cast<float *>(shared);
    float *const kvs = qs + QUERIES * PITCH, *const weights = kvs + KEYS * PITCH;
    const auto [number, head, query0] = place(p, QUERIES);
    const Sequence s(p, number, head);
    const u32 tx = threadIdx.x % 16,
              ty = threadIdx.x / 16; // queries 4·ty .. +4; keys and channels tx, tx + 16, ..
    load_rows<QUERIES>(qs, qkv, s, 0, query0, p.length);
    float o[4][CHANNELS] = {}, most[4], total[4] = {};
#pragma unroll
    for (u32 i = 0; i < 4; i++) {
        most[i] = -infinity();
    }
    for (u32 key0 = 0; key0 < p.length; key0 += KEYS) {
        load_rows<KEYS>(kvs, qkv, s, 1, key0, p.length);
        __syncthreads();
        float score[4][2] = {};
        for (u32 c = 0; c < WIDTH; c += 4) {
            float q[4][4], k[2][4];
#pragma unroll
            for (u32 i = 0; i < 4; i++) {
                load(qs + (4 * ty + i) * PITCH + c, q[i]);
            }
#pragma unroll
            for (u32 j = 0; j < 2; j++) {
                load(kvs + (tx + 16 * j) * PITCH + c, k[j]);
            }
#pragma unroll
            for (u32 i = 0; i < 4; i++) {
#pragma unroll
                for (u32 j = 0; j < 2; j++) {
#pragma unroll
                    for (u32 e = 0; e < 4; e++) {
                        score[i][j] = fmaf(q[i][e], k[j][e], score[i][j]);
                    }
                }
            }
        }
#pragma unroll
        for (u32 i = 0; i < 4; i++) {
#pragma unroll
            for (u32 j = 0; j < 2; j++) {
                // A key that is not there: its score is not 0.
                if (key0 + tx + 16 * j >= p.length) {
                    score[i][j] = -infinity();
                }
            }
            const float here = over_row(fmaxf(score[i][0], score[i][1]), fmaxf);
            const float now = fmaxf(most[i], here);
            const float rescale = exp2_approx((most[i] - now) * score_scale());
            most[i] = now;
            float sum = 0.0f;
#pragma unroll
            for (u32 j = 0; j < 2; j++) {
                const float weight = exp2_approx((score[i][j] - now) * score_scale());
                weights[(4 * ty + i) * KEY_PITCH + tx + 16 * j] = weight;
                sum += weight;
            }
            total[i] = fmaf(total[i], rescale, sum);
#pragma unroll
            for (u32 n = 0; n < CHANNELS; n++) {
                o[i][n] *= rescale;
            }
        }
        // All are done with the keys.
        __syncthreads();
        load_rows<KEYS>(kvs, qkv, s, 2, key0, p.length);
        __syncthreads();
        for (u32 key = 0; key < KEYS; key += 4) {
            float w[4][4];
#pragma unroll
            for (u32 i = 0; i < 4; i++) {
                load(weights + (4 * ty + i) * KEY_PITCH + key, w[i]);
            }
#pragma unroll
            for (u32 e = 0; e < 4; e++) {
#pragma unroll
                for (u32 n = 0; n < CHANNELS; n++) {
                    const u32 c = tx + 16 * n;
                    const float v = HEAD % 16 == 0 || c < HEAD ? kvs[(key + e) * PITCH + c] : 0.0f;
#pragma unroll
                    for (u32 i = 0; i < 4; i++) {
                        o[i][n] = fmaf(w[i][e], v, o[i][n]);
                    }
                }
            }
        }
        // All are done with the values and the weights.
        __syncthreads();
    }
#pragma unroll
    for (u32 i = 0; i < 4; i++) {
        const float sum = over_row(total[i], [](float a, float b) { return a + b; });
        const u32 query = query0 + 4 * ty + i;
#pragma unroll
        for (u32 n = 0; n < CHANNELS; n++) {
            const u32 c = tx + 16 * n;
            if (query < p.length && c < HEAD) {
                put(out[s.out(query) + c], o[i][n] / sum);
            }
        }
    }
}
