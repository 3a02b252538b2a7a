// CUDA C++ for g++: the words of the language and its built-in functions, as far as the kernels use them.
#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#define __global__
#define __device__
#define __host__
/// Always, so that the address of an access leads through the inlined calls back to the user's line.
#define STEEP_INLINE static inline __attribute__((always_inline))
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
/// Into a section of their own, each behind a gap, so that the emulator knows where every array ends.
#define STEEP_SHARED_SECTION __attribute__((section("steep_shared"), used))
#define STEEP_JOIN_(a, b) a##b
#define STEEP_JOIN(a, b) STEEP_JOIN_(a, b)
#define __shared__                                                                                           \
    static STEEP_SHARED_SECTION char STEEP_JOIN(steep_gap_, __COUNTER__)[256];                               \
    static STEEP_SHARED_SECTION

namespace emulator {

struct Dim3 {
    unsigned x, y, z;
};

// By value: only what the kernel itself reads and writes is to be watched.
Dim3 thread_index();
Dim3 block_index();
Dim3 block_size();
Dim3 grid_size();
void syncthreads();
void syncwarp(unsigned mask);
/// What the lane `from(lane)` holds; bytes of any type.
uint64_t shuffle(const char *name, unsigned mask, uint64_t value, unsigned from);
unsigned ballot(const char *name, unsigned mask, bool predicate);
unsigned lane();
void fence();
void atomic(void *address, size_t bytes);
/// The current thread uses the unit for special functions.
void special();
/// What is there, unwatched.
uint64_t peek(const void *address, size_t bytes);
void poke(void *address, uint64_t value, size_t bytes);

template <class N>
uint64_t to_bits(N x) {
    uint64_t bits = 0;
    memcpy(&bits, &x, sizeof x);
    return bits;
}

template <class N>
N from_bits(uint64_t bits) {
    N x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

} // namespace emulator

#define threadIdx (emulator::thread_index())
#define blockIdx (emulator::block_index())
#define blockDim (emulator::block_size())
#define gridDim (emulator::grid_size())

STEEP_INLINE void __syncthreads() {
    emulator::syncthreads();
}
STEEP_INLINE void __syncwarp(unsigned mask = 0xffffffffu) {
    emulator::syncwarp(mask);
}
STEEP_INLINE void __threadfence() {
    emulator::fence();
}

template <class N>
STEEP_INLINE N __shfl_sync(unsigned mask, N x, int lane) {
    return emulator::from_bits<N>(emulator::shuffle("__shfl_sync", mask, emulator::to_bits(x), lane % 32));
}
template <class N>
STEEP_INLINE N __shfl_xor_sync(unsigned mask, N x, int lanes) {
    const unsigned from = emulator::lane() ^ lanes;
    return emulator::from_bits<N>(emulator::shuffle("__shfl_xor_sync", mask, emulator::to_bits(x), from));
}
template <class N>
STEEP_INLINE N __shfl_down_sync(unsigned mask, N x, unsigned lanes) {
    // Lanes at the end keep their own.
    const unsigned me = emulator::lane(), from = me + lanes < 32 ? me + lanes : me;
    return emulator::from_bits<N>(emulator::shuffle("__shfl_down_sync", mask, emulator::to_bits(x), from));
}
STEEP_INLINE unsigned __ballot_sync(unsigned mask, int predicate) {
    return emulator::ballot("__ballot_sync", mask, predicate != 0);
}
STEEP_INLINE int __any_sync(unsigned mask, int predicate) {
    return emulator::ballot("__any_sync", mask, predicate != 0) != 0;
}
STEEP_INLINE int __all_sync(unsigned mask, int predicate) {
    return emulator::ballot("__all_sync", mask, predicate == 0) == 0;
}

// The memory itself is changed unwatched; the emulator is told of the operation as a whole.
template <class N, class F>
STEEP_INLINE N steep_atomic(N *address, F change) {
    emulator::atomic(address, sizeof(N));
    const N old = emulator::from_bits<N>(emulator::peek(address, sizeof(N)));
    emulator::poke(address, emulator::to_bits(change(old)), sizeof(N));
    return old;
}
template <class N>
STEEP_INLINE N atomicAdd(N *address, N x) {
    return steep_atomic(address, [=](N old) { return old + x; });
}
STEEP_INLINE unsigned atomicInc(unsigned *address, unsigned last) {
    return steep_atomic(address, [=](unsigned old) { return old >= last ? 0 : old + 1; });
}
STEEP_INLINE unsigned atomicExch(unsigned *address, unsigned x) {
    return steep_atomic(address, [=](unsigned) { return x; });
}
STEEP_INLINE unsigned atomicCAS(unsigned *address, unsigned wanted, unsigned x) {
    return steep_atomic(address, [=](unsigned old) { return old == wanted ? x : old; });
}

STEEP_INLINE float __uint_as_float(unsigned x) {
    return emulator::from_bits<float>(x);
}
STEEP_INLINE unsigned __float_as_uint(float x) {
    return static_cast<unsigned>(emulator::to_bits(x));
}
STEEP_INLINE float rsqrtf(float x) {
    emulator::special();
    return 1.0f / (sqrtf)(x);
}
STEEP_INLINE float __fdividef(float a, float b) {
    emulator::special();
    return a / b;
}
/// The lowest bit that is set, from 1; 0 where there is none.
STEEP_INLINE int __ffs(int bits) {
    return __builtin_ffs(bits);
}
STEEP_INLINE int __clz(int bits) {
    return bits == 0 ? 32 : __builtin_clz(bits);
}
STEEP_INLINE int __popc(unsigned bits) {
    return __builtin_popcount(bits);
}
// What a GPU does with its unit for special functions, however much it does around that.
#define sqrtf(x) (emulator::special(), (sqrtf)(x))
#define expf(x) (emulator::special(), (expf)(x))
#define exp2f(x) (emulator::special(), (exp2f)(x))
#define logf(x) (emulator::special(), (logf)(x))
#define log2f(x) (emulator::special(), (log2f)(x))
#define sinf(x) (emulator::special(), (sinf)(x))
#define cosf(x) (emulator::special(), (cosf)(x))
#define tanhf(x) (emulator::special(), (tanhf)(x))
STEEP_INLINE int min(int a, int b) {
    return a < b ? a : b;
}
STEEP_INLINE int max(int a, int b) {
    return a > b ? a : b;
}
STEEP_INLINE unsigned min(unsigned a, unsigned b) {
    return a < b ? a : b;
}
STEEP_INLINE unsigned max(unsigned a, unsigned b) {
    return a > b ? a : b;
}
/// sin and cos of π·x: the reduction to a quarter of a turn is exact, as on the device.
STEEP_INLINE void sincospi(double x, double *sine, double *cosine) {
    const double quarters = std::nearbyint(2.0 * x), angle = M_PI * (x - quarters / 2.0);
    const double s = std::sin(angle), c = std::cos(angle);
    switch (static_cast<long long>(quarters) & 3) {
    case 0: *sine = s, *cosine = c; break;
    case 1: *sine = c, *cosine = -s; break;
    case 2: *sine = -s, *cosine = -c; break;
    default: *sine = -c, *cosine = s;
    }
}
