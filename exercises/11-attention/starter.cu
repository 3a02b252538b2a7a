// out = softmax(q·kᵀ / √h)·v, a query of one head to a warp, in one pass over the keys
//
// Try it: steep try starter.cu
// expect: out: element 0 is NaN
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
    float o[CHANNELS] = {};
    // Yours: qkv[s.in(query, 0) + c] is channel c of the query, s.in(key, 1) and s.in(key, 2) are where a key and its value
    // begin, out[s.out(query) + c] is where channel c of the result goes.
}
