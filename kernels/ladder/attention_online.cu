// out = softmax(q·kᵀ / √h)·v, one warp per query, online softmax. Any shape, any dtype.
//
//     for each key:
//         s = q·k;  m' = max(m, s);  r = 2^(m − m');  w = 2^(s − m')
//         l = l·r + w;  o = o·r + w·v
//     out = o / l
//
// Against the naive one, a score is worked out once, by 32 lanes together, and keys and values are read in
// one pass: the largest score so far stands in for the largest of all, and what was summed up is rescaled
// when it changes.
#include "attention.cuh"

constexpr u32 WARPS = 4, CHANNELS = (HEAD + 31) / 32; // of a lane

extern "C" __global__ void __launch_bounds__(32 * WARPS)
    attention(T *__restrict__ out, const T *__restrict__ qkv, Params p, Gate gate) {
    const auto [number, head, query0] = place(p, WARPS);
    const u32 query = query0 + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (gated_off(gate) || query >= p.length) {
        return;
    }
    const Sequence s(p, number, head);
    const auto load = [&](u64 at, float (&v)[CHANNELS]) {
#pragma unroll
        for (u32 i = 0; i < CHANNELS; i++) {
            const u32 c = lane + 32 * i;
            v[i] = c < HEAD ? to_f32(qkv[at + c]) : 0.0f;
        }
    };
    float q[CHANNELS], o[CHANNELS] = {};
    load(s.in(query, 0), q);
    float most = -infinity(), weights = 0.0f;
    for (u32 key = 0; key < p.length; key++) {
        float k[CHANNELS], v[CHANNELS];
        load(s.in(key, 1), k);
        load(s.in(key, 2), v);
        float score = 0.0f;
#pragma unroll
        for (u32 i = 0; i < CHANNELS; i++) {
            score = fmaf(q[i], k[i], score);
        }
        score = warp_sum(score);
        const float now = fmaxf(most, score);
        const float rescale = exp2_approx((most - now) * score_scale());
        const float weight = exp2_approx((score - now) * score_scale());
        most = now;
        weights = fmaf(weights, rescale, weight);
#pragma unroll
        for (u32 i = 0; i < CHANNELS; i++) {
            o[i] = fmaf(o[i], rescale, weight * v[i]);
        }
    }
#pragma unroll
    for (u32 i = 0; i < CHANNELS; i++) {
        const u32 c = lane + 32 * i;
        if (c < HEAD) {
            put(out[s.out(query) + c], o[i] / weights);
        }
    }
}
