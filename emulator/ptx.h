// The emulator's side of kernels/ptx.cuh: the same names, the same meaning, on a CPU.
#pragma once

#define DEVICE STEEP_INLINE
#define DEVICE_MEMBER inline __attribute__((always_inline))
#define SHARED_MEMORY(name) u8 *const name = emulator::dynamic_shared()

namespace emulator {

u8 *dynamic_shared();
void load(const void *from, u32 *words, unsigned bytes);
void store(void *to, const u32 *words, unsigned bytes);
void cp_async(void *to, const void *from, unsigned bytes);
void cp_async_commit();
void cp_async_wait(unsigned pending);
void ldmatrix(u32 *registers, unsigned matrices, bool transposed, const void *row);
void mma_m16n8k16(float *d, const u32 *a, const u32 *b, float (*value)(u16));
void barrier(unsigned id, unsigned threads, bool waits);
u16 f16_bits(float x);
float f16_value(u16 bits);
float bf16_value(u16 bits);

} // namespace emulator

DEVICE Quad load16(const void *from) {
    Quad v;
    emulator::load(from, v.word, 16);
    return v;
}
DEVICE Pair load8(const void *from) {
    Pair v;
    emulator::load(from, v.word, 8);
    return v;
}
DEVICE void store16(void *to, const Quad &v) {
    emulator::store(to, v.word, 16);
}
DEVICE void store8(void *to, const Pair &v) {
    emulator::store(to, v.word, 8);
}
DEVICE void cp_async16(void *to, const void *from, u32 bytes) {
    emulator::cp_async(to, from, bytes);
}
DEVICE void cp_async_commit() {
    emulator::cp_async_commit();
}
template <int Pending>
DEVICE void cp_async_wait() {
    emulator::cp_async_wait(Pending);
}
DEVICE void ldmatrix_x4(u32 (&r)[4], const void *row) {
    emulator::ldmatrix(r, 4, false, row);
}
DEVICE void ldmatrix_x2(u32 (&r)[2], const void *row) {
    emulator::ldmatrix(r, 2, false, row);
}
DEVICE void ldmatrix_x4_transposed(u32 (&r)[4], const void *row) {
    emulator::ldmatrix(r, 4, true, row);
}
DEVICE void ldmatrix_x2_transposed(u32 (&r)[2], const void *row) {
    emulator::ldmatrix(r, 2, true, row);
}
DEVICE void mma_m16n8k16(float (&d)[4], const u32 (&a)[4], const u32 (&b)[2], f16) {
    emulator::mma_m16n8k16(d, a, b, emulator::f16_value);
}
DEVICE void mma_m16n8k16(float (&d)[4], const u32 (&a)[4], const u32 (&b)[2], bf16) {
    emulator::mma_m16n8k16(d, a, b, emulator::bf16_value);
}
DEVICE void barrier_sync(u32 id, u32 threads) {
    emulator::barrier(id, threads, true);
}
DEVICE void barrier_arrive(u32 id, u32 threads) {
    emulator::barrier(id, threads, false);
}
DEVICE u16 f16_bits(float x) {
    return emulator::f16_bits(x);
}
DEVICE float f16_value(u16 bits) {
    return emulator::f16_value(bits);
}
DEVICE u16 bf16_bits(float x) {
    return bf16_by_integers(__float_as_uint(x));
}
DEVICE float bf16_value(u16 bits) {
    return emulator::bf16_value(bits);
}
DEVICE u32 f16x2_bits(float low, float high) {
    return f16_bits(low) | static_cast<u32>(f16_bits(high)) << 16;
}
DEVICE u32 bf16x2_bits(float low, float high) {
    return bf16_bits(low) | static_cast<u32>(bf16_bits(high)) << 16;
}
/// As bad as the instruction may be: a unit in the last place off, and 0 where normal numbers end.
DEVICE float reciprocal_approx(float x) {
    emulator::special();
    const float y = std::fabs(x) < 1.17549435e-38f ? std::copysign(INFINITY, x) : 1.0f / x;
    const bool exact = !std::isfinite(y) || y == 0.0f;
    return std::fabs(y) < 1.17549435e-38f ? std::copysign(0.0f, y) : exact ? y : __uint_as_float(__float_as_uint(y) ^ 1u);
}
/// As bad as the instruction may be: two units in the last place off, and 0 where normal numbers end.
DEVICE float exp2_approx(float x) {
    const float y = exp2f(x); // counted
    const bool exact = x == 0.0f || !std::isfinite(y);
    return y < 1.17549435e-38f ? 0.0f : exact ? y : __uint_as_float(__float_as_uint(y) ^ 2u);
}
