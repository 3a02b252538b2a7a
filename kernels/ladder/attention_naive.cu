// out = softmax(q·kᵀ / √h)·v, one thread per query and eight channels. Any shape, any dtype.
//
// The first rung: two passes over the keys, one for the largest score and one for the sums, and every thread
// of a query works out all of its scores for itself.
#include "attention.cuh"

DEVICE float score(const T *q, const T *k) {
    float sum = 0.0f;
    for (u32 c = 0; c < HEAD; c++) {
        sum = fmaf(to_f32(q[c]), to_f32(k[c]), sum);
    }
    return sum;
}

extern "C" __global__ void __launch_bounds__(32)
    attention(T *__restrict__ out, const T *__restrict__ qkv, Params p, Gate gate) {
    if (gated_off(gate)) {
        return;
    }
    const Sequence s(p, blockIdx.z, blockIdx.y);
    const u32 query = blockIdx.x;
    const T *const q = qkv + s.in(query, 0);
    for (u32 c = 8 * threadIdx.x; c < HEAD; c += 8 * blockDim.x) {
        float most = score(q, qkv + s.in(0, 1));
        for (u32 key = 1; key < p.length; key++) {
            most = fmaxf(most, score(q, qkv + s.in(key, 1)));
        }
        float weights = 0.0f, sum[8] = {};
        for (u32 key = 0; key < p.length; key++) {
            const float weight = exp2f((score(q, qkv + s.in(key, 1)) - most) * score_scale());
            float v[8];
            load<false>(qkv + s.in(key, 2), c, HEAD, v);
            weights += weight;
#pragma unroll
            for (u32 i = 0; i < 8; i++) {
                sum[i] = fmaf(weight, v[i], sum[i]);
            }
        }
#pragma unroll
        for (u32 i = 0; i < 8; i++) {
            sum[i] /= weights;
        }
        store<false>(out + s.out(query), c, HEAD, sum);
    }
}
