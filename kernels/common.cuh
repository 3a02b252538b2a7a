// What the kernels share: storage types, vectors, reductions, activations.
//
// Every kernel is an entry point named as its op. Its arguments are the written tensors, the tensors that are
// read, the op's Params, and the gate: a flag on the device and whether the kernel does its work when the
// flag is set (`want` = 1) or when it is not (0). The host never learns what the flag was. The executor defines T, the narrowest float type among the
// operands, and O, that of the first written tensor. blockIdx.x runs over the last dimension of the op's
// work, y over the middle one, z over the first; where the op's source is folded, over all of them.
//
// Compile with --fmad=false: products and sums are fused where fmaf says so and nowhere else, so that two
// kernels that compute the same thing compute the same bits.
#pragma once
#include "ptx.cuh"

/// Whether a call does its work.
struct Gate {
    const u32 *flag; // none: always
    u32 *tally;      // of the gated calls: how many ran, and how many did not
    u32 want;        // of the flag
};

/// Whether a gate that has a flag does so now.
DEVICE bool turns_away(const Gate &gate) {
    return (*gate.flag != 0) != (gate.want != 0);
}

/// Whether the flag on the device turns this call away. One thread of the grid counts the call.
DEVICE bool gated_off(const Gate &gate) {
    if (gate.flag == nullptr) {
        return false;
    }
    const bool off = turns_away(gate);
    if ((threadIdx.x | blockIdx.x | blockIdx.y | blockIdx.z) == 0) {
        atomicAdd(gate.tally + (off ? 1 : 0), 1u);
    }
    return off;
}

// ---- elements

DEVICE float to_f32(f32 x) {
    return x;
}
DEVICE float to_f32(f16 x) {
    return f16_value(x.bits);
}
DEVICE float to_f32(bf16 x) {
    return bf16_value(x.bits);
}

DEVICE void put(f32 &to, float x) {
    to = x;
}
DEVICE void put(f16 &to, float x) {
    to.bits = f16_bits(x);
}
DEVICE void put(bf16 &to, float x) {
    to.bits = bf16_bits(x);
}

/// The value that a tensor of E holds after x was stored in it.
template <class E>
DEVICE float rounded(float x) {
    E e;
    put(e, x);
    return to_f32(e);
}

/// Two elements in one word, the first in its lower half; the last argument only tells the type.
DEVICE u32 pack2(float low, float high, f16) {
    return f16x2_bits(low, high);
}
DEVICE u32 pack2(float low, float high, bf16) {
    return bf16x2_bits(low, high);
}

DEVICE void unpack2(u32 word, float &low, float &high, f16) {
    low = f16_value(static_cast<u16>(word));
    high = f16_value(static_cast<u16>(word >> 16));
}
DEVICE void unpack2(u32 word, float &low, float &high, bf16) {
    low = bf16_value(static_cast<u16>(word));
    high = bf16_value(static_cast<u16>(word >> 16));
}

// ---- a few elements in a row: four of any type, or eight of 16 bits. Four of f32 are one access of 16 bytes. With eight, a
// thread would make two, and each of a warp's would leave out half of every sector that it touches

template <class E>
DEVICE void load(const E *from, float (&v)[8]) {
    const Quad q = load16(from);
#pragma unroll
    for (int i = 0; i < 4; i++) {
        unpack2(q.word[i], v[2 * i], v[2 * i + 1], E());
    }
}

template <class E>
DEVICE void load(const E *from, float (&v)[4]) {
    const Pair q = load8(from);
    unpack2(q.word[0], v[0], v[1], E());
    unpack2(q.word[1], v[2], v[3], E());
}

DEVICE void load(const f32 *from, float (&v)[4]) {
    const Quad q = load16(from);
#pragma unroll
    for (int i = 0; i < 4; i++) {
        v[i] = __uint_as_float(q.word[i]);
    }
}

template <class E>
DEVICE void store(E *to, const float (&v)[8]) {
    Quad q;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        q.word[i] = pack2(v[2 * i], v[2 * i + 1], E());
    }
    store16(to, q);
}

template <class E>
DEVICE void store(E *to, const float (&v)[4]) {
    store8(to, Pair{{pack2(v[0], v[1], E()), pack2(v[2], v[3], E())}});
}

DEVICE void store(f32 *to, const float (&v)[4]) {
    Quad q;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        q.word[i] = __float_as_uint(v[i]);
    }
    store16(to, q);
}

/// Elements at .. at + N of a row of n. A kernel picks VECTOR where all its rows are multiples of N; without it, the row may
/// begin anywhere and elements past its end read as 0.
template <bool VECTOR, class E, u32 N>
DEVICE void load(const E *row, u32 at, u32 n, float (&v)[N]) {
    if constexpr (VECTOR) {
        load(row + at, v);
    } else {
#pragma unroll
        for (u32 i = 0; i < N; i++) {
            v[i] = at + i < n ? to_f32(row[at + i]) : 0.0f;
        }
    }
}

/// The opposite: elements past the row's end are not stored.
template <bool VECTOR, class E, u32 N>
DEVICE void store(E *row, u32 at, u32 n, const float (&v)[N]) {
    if constexpr (VECTOR) {
        store(row + at, v);
    } else {
#pragma unroll
        for (u32 i = 0; i < N; i++) {
            if (at + i < n) {
                put(row[at + i], v[i]);
            }
        }
    }
}

// ---- sums, each in a fixed order

DEVICE float sum(const float (&v)[4]) {
    return (v[0] + v[1]) + (v[2] + v[3]);
}
DEVICE float sum(const float (&v)[8]) {
    return ((v[0] + v[1]) + (v[2] + v[3])) + ((v[4] + v[5]) + (v[6] + v[7]));
}

/// Σ over the 32 lanes of a warp; every lane gets it.
template <class N>
DEVICE N warp_sum(N x) {
#pragma unroll
    for (int lanes = 16; lanes > 0; lanes /= 2) {
        x += __shfl_xor_sync(0xffffffffu, x, lanes);
    }
    return x;
}

/// Σ over each half of a warp; every lane gets its half's.
template <class N>
DEVICE N half_sum(N x) {
#pragma unroll
    for (int lanes = 8; lanes > 0; lanes /= 2) {
        x += __shfl_xor_sync(0xffffffffu, x, lanes);
    }
    return x;
}

/// Σ over the block, thread 0 gets it. `scratch` is shared, one number per warp, and free again after the
/// next barrier. Warps that have nothing but zeros, as where a run has fewer rows than a block has warps, take no steps.
template <class N>
DEVICE N block_sum(N x, N *scratch) {
    const u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    if (__any_sync(0xffffffffu, x != N(0))) {
        x = warp_sum(x);
    }
    if (lane == 0) {
        scratch[warp] = x;
    }
    __syncthreads();
    if (warp == 0) {
        x = warp_sum(lane < blockDim.x / 32 ? scratch[lane] : N(0));
    }
    return x;
}

/// The same for two numbers in the steps of one: half of a warp's lanes take the first, half the second. For blocks of at
/// most 16 warps.
template <class N>
DEVICE void block_sums(N &x, N &y, N (*scratch)[2]) {
    const u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32, half = lane / 16;
    N mine = half == 0 ? x : y;
    if (__any_sync(0xffffffffu, x != N(0) || y != N(0))) {
        mine = half_sum(mine + __shfl_xor_sync(0xffffffffu, half == 0 ? y : x, 16));
    }
    if (lane % 16 == 0) {
        scratch[warp][half] = mine;
    }
    __syncthreads();
    if (warp == 0) {
        x = half_sum(lane % 16 < blockDim.x / 32 ? scratch[lane % 16][half] : N(0));
        y = __shfl_xor_sync(0xffffffffu, x, 16);
    }
}

/// Where the i-th of `parts` nearly equal runs of n begins, ⌊n·i / parts⌋; the next one's beginning is its end. There are at
/// most 65535 parts, so that 32 bits do: a division of 64 bits would take longer than many a run.
DEVICE u32 share(u32 n, u32 parts, u32 i) {
    return n / parts * i + n % parts * i / parts;
}

// ---- numbers

DEVICE float infinity() {
    return __uint_as_float(0x7f800000u);
}
DEVICE bool finite(float x) {
    return fabsf(x) < infinity();
}
DEVICE float not_a_number() {
    return __uint_as_float(0x7fc00000u);
}

/// x·σ(x), to 4·10⁻⁷ of the result and as much again for each unit of −x, by instructions that approximate: a
/// division and expf take ten times as many.
DEVICE float silu(float x) {
    return x * reciprocal_approx(1.0f + exp2_approx(-1.4426950408889634f * x));
}

/// ½x·(1 + tanh u) with u = √(2/π)·(x + 0.044715·x³), which is x·σ(2u); as exact as silu.
DEVICE float gelu(float x) {
    const float u = 0.7978845608028654f * fmaf(0.044715f * x * x, x, x);
    return x * reciprocal_approx(1.0f + exp2_approx(-2.885390081777927f * u));
}
