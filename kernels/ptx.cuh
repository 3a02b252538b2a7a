// Every piece of inline PTX, one instruction behind one named function.
//
// This header is also the seam where the CPU emulator plugs in: with STEEP_EMULATOR defined, the same names
// come from emulator/ptx.h, and a kernel that keeps its PTX here is executed on a CPU as it stands. No
// toolkit header is needed: NVRTC alone knows everything that is used.
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef float f32;

/// IEEE half: storage only, arithmetic is f32.
struct alignas(2) f16 {
    u16 bits;
};

/// The upper half of an f32: storage only, arithmetic is f32.
struct alignas(2) bf16 {
    u16 bits;
};

/// 16 bytes, the most that one thread moves with one instruction.
struct alignas(8) Pair {
    u32 word[2];
};
struct alignas(16) Quad {
    u32 word[4];
};

/// The block's dynamic shared memory, `bytes` long. SHARED_BYTES is what the executor launches the kernel with: what
/// `shared` says of the op's source in src/ops.
#define DYNAMIC_SHARED(name, bytes) \
    static_assert((bytes) == SHARED_BYTES, "the source in src/ops has another amount of shared memory"); \
    SHARED_MEMORY(name)

/// The upper half of a float's bits, rounded to nearest, ties to even; NaN is 0x7fff. GPUs from sm_80 on have an
/// instruction that gives the same.
constexpr u16 bf16_by_integers(u32 word) {
    return (word & 0x7fffffffu) > 0x7f800000u ? u16(0x7fff) : u16((word + 0x7fffu + (word >> 16 & 1u)) >> 16);
}

#ifdef STEEP_EMULATOR
#include "ptx.h"
#else

#define DEVICE static __device__ __forceinline__
#define DEVICE_MEMBER __device__ __forceinline__

#define SHARED_MEMORY(name) extern __shared__ __align__(16) u8 name[]

// ---- memory

/// 16 bytes from an address that is a multiple of 16.
DEVICE Quad load16(const void *from) {
    const uint4 v = *static_cast<const uint4 *>(from);
    return Quad{{v.x, v.y, v.z, v.w}};
}

/// 16 bytes to an address that is a multiple of 16.
DEVICE void store16(void *to, const Quad &v) {
    *static_cast<uint4 *>(to) = make_uint4(v.word[0], v.word[1], v.word[2], v.word[3]);
}

/// 8 bytes from an address that is a multiple of 8.
DEVICE Pair load8(const void *from) {
    const uint2 v = *static_cast<const uint2 *>(from);
    return Pair{{v.x, v.y}};
}

/// 8 bytes to an address that is a multiple of 8.
DEVICE void store8(void *to, const Pair &v) {
    *static_cast<uint2 *>(to) = make_uint2(v.word[0], v.word[1]);
}

/// What instructions that address shared memory directly call a pointer.
DEVICE u32 shared_address(const void *p) {
    return static_cast<u32>(__cvta_generic_to_shared(p));
}

/// Starts to copy 16 bytes from global to shared memory past the registers. Only the first `bytes` of them (0
/// to 16) are read, the rest is filled with zeros; nobody may touch `to` before the copy was waited for.
DEVICE void cp_async16(void *to, const void *from, u32 bytes) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from),
                 "r"(bytes)
                 : "memory");
}

/// Makes one group of this thread's copies since the last commit; the group may be empty.
DEVICE void cp_async_commit() {
    asm volatile("cp.async.commit_group;" ::: "memory");
}

/// Waits until at most `Pending` of this thread's latest groups are unfinished. Other threads see the data
/// after the next barrier.
template <int Pending>
DEVICE void cp_async_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory");
}

// ---- matrices

/// Four 8×8 matrices of 16-bit elements from shared memory: lanes 8i .. 8i+7 give the addresses of the rows
/// of matrix i, each row 16 bytes. Lane l gets elements 2(l mod 4) and the next one of row l/4 of each.
DEVICE void ldmatrix_x4(u32 (&r)[4], const void *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
}

/// Two matrices; lanes 0 to 15 give the addresses.
DEVICE void ldmatrix_x2(u32 (&r)[2], const void *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(shared_address(row))
                 : "memory");
}

/// ldmatrix_x4, each matrix transposed: lane l gets rows 2(l mod 4) and the next one of column l/4.
DEVICE void ldmatrix_x4_transposed(u32 (&r)[4], const void *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
}

/// ldmatrix_x2, each matrix transposed.
DEVICE void ldmatrix_x2_transposed(u32 (&r)[2], const void *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(shared_address(row))
                 : "memory");
}

/// d += a·b on the tensor cores, by a whole warp: a is 16×16, b 16×8, d 16×8 in f32. With g = lane/4 and t =
/// lane mod 4, a lane holds of a: (g, 2t), (g+8, 2t), (g, 2t+8), (g+8, 2t+8), of b: (2t, g), (2t+8, g), each
/// with its right (a) or lower (b) neighbour in one word; and of d: (g, 2t), (g, 2t+1), (g+8, 2t), (g+8,
/// 2t+1). The last argument only tells the type.
DEVICE void mma_m16n8k16(float (&d)[4], const u32 (&a)[4], const u32 (&b)[2], f16) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

DEVICE void mma_m16n8k16(float (&d)[4], const u32 (&a)[4], const u32 (&b)[2], bf16) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// ---- threads

/// Waits for `threads` threads of the block (a multiple of 32) at barrier `id`, 1 to 15; 0 is
/// __syncthreads's.
DEVICE void barrier_sync(u32 id, u32 threads) {
    asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

/// Counts as one of the threads that a barrier waits for, without waiting.
DEVICE void barrier_arrive(u32 id, u32 threads) {
    asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

// ---- numbers

/// Rounded to nearest, ties to even.
DEVICE u16 f16_bits(float x) {
    u16 bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
    return bits;
}

DEVICE float f16_value(u16 bits) {
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
    return x;
}

DEVICE float bf16_value(u16 bits) {
    return __uint_as_float(static_cast<u32>(bits) << 16);
}

#if __CUDA_ARCH__ >= 800
/// Rounded to nearest, ties to even.
DEVICE u16 bf16_bits(float x) {
    u16 bits;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(x));
    return bits;
}

/// Two halves in one word, `low` in its lower half.
DEVICE u32 f16x2_bits(float low, float high) {
    u32 bits;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
    return bits;
}

DEVICE u32 bf16x2_bits(float low, float high) {
    u32 bits;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
    return bits;
}
#else
// Turing converts one half at a time, and knows no bf16.
DEVICE u16 bf16_bits(float x) {
    return bf16_by_integers(__float_as_uint(x));
}

DEVICE u32 f16x2_bits(float low, float high) {
    return f16_bits(low) | static_cast<u32>(f16_bits(high)) << 16;
}

DEVICE u32 bf16x2_bits(float low, float high) {
    return bf16_bits(low) | static_cast<u32>(bf16_bits(high)) << 16;
}
#endif

/// 1/x to one unit in the last place, in one instruction; 0 where the result is no normal number.
DEVICE float reciprocal_approx(float x) {
    float y;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

/// 2^x to about two units in the last place, in one instruction; 0 for large negative x.
DEVICE float exp2_approx(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

#endif
