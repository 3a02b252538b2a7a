// expect: out of bounds: thread|out: 
// A lane without a channel reads the next head, or what lies behind the last.
// steep: tile = 1, 1, 4
// steep: threads = 128
// The channels of a head, as a constant:
// steep: takes = HEAD
#include "attention.cuh" // Params, and Sequence: where the queries, keys, values and results of a sequence are

constexpr u32 WARPS = 4;
constexpr u32 CHANNELS = (HEAD + 31) / 32; // of a lane

extern "C" __global__ void attention(T *out, const T *qkv, Params p, Gate gate) {
    const u32 query = blockIdx.x * WARPS + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (gated_off(gate) || query >= p.length) {
        return;
    }
    const Sequence s(p, blockIdx.z, blockIdx.y);
    // A lane has channels lane, lane + 32, ...
    const auto load = [&](u64 at, float (&v)[CHANNELS]) {
#pragma unroll
        for (u32 i = 0; i < CHANNELS; i++) {
            const u32 c = lane + 32 * i;
            v[i] = to_f32(qkv[at + c]); // here
        }
    };
    float q[CHANNELS], o[CHANNELS] = {};
    load(s.in(query, 0), q);
    // The largest score so far, and the sum of weights relative to it.
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
        score = warp_sum(score) / sqrtf(HEAD);
        const float now = fmaxf(most, score);
        // What was summed until now was relative to the old maximum. At first that is e^-∞, which is 0.
        const float rescale = expf(most - now);
        // At most 1: it cannot overflow.
        const float weight = expf(score - now);
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
