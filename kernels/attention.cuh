// What all sources of `attention` share: out = softmax(q·kᵀ / √h)·v per head, where a sequence is every
// stride-th row of qkv. The executor defines HEAD = h, the channels of a head.
#pragma once
#include "common.cuh"

struct Params {
    u32 length, stride, inner, outer, heads, head;
};

/// One head of one sequence. Rows of `qkv` hold all queries, then all keys, then all values of a token; each
/// is heads·h long.
struct Sequence {
    u64 first; // row of its first token
    u64 stride;
    u32 dim, column;

    DEVICE_MEMBER Sequence(const Params &p, u32 sequence, u32 head)
        : first(static_cast<u64>(sequence / p.inner) * p.outer + sequence % p.inner), stride(p.stride),
          dim(p.heads * HEAD), column(head * HEAD) {}

    /// Where a token's query (0), key (1) or value (2) begins in qkv.
    DEVICE_MEMBER u64 in(u32 token, u32 which) const {
        return (3 * (first + token * stride) + which) * dim + column;
    }

    /// Where its result begins in out.
    DEVICE_MEMBER u64 out(u32 token) const { return (first + token * stride) * dim + column; }
};

/// What the block does: from query `query0` on, of a head of a sequence.
struct Place {
    u32 sequence, head, query0;
};

/// Blocks of `queries` queries count along x alone: those of a head, then heads, then sequences. A grid's other
/// dimensions end at 65,535.
DEVICE Place place(const Params &p, u32 queries) {
    const u32 blocks = (p.length + queries - 1) / queries, row = blockIdx.x / blocks;
    return Place{row / p.heads, row % p.heads, blockIdx.x % blocks * queries};
}

/// Scores are powers of 2, not of e: the unit has an instruction for these.
DEVICE float score_scale() {
    return 1.4426950408889634f / sqrtf(static_cast<float>(HEAD));
}
