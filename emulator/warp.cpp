// What the device's instructions do: those of one thread, and those of a warp.
#include <cmath>
#include <cstring>

#include "machine.h"
#include "memory.h"

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;

namespace emulator {

struct Dim3 {
    unsigned x, y, z;
};

static Dim3 of(const Index &i) {
    return {i.x, i.y, i.z};
}

Dim3 thread_index() {
    return of(machine.thread->index);
}
Dim3 block_index() {
    return of(machine.block);
}
Dim3 block_size() {
    return of(machine.launch.block);
}
Dim3 grid_size() {
    return of(machine.launch.grid);
}
unsigned lane() {
    return machine.thread->id % 32;
}
u8 *dynamic_shared() {
    return memory.dynamic_shared();
}

// ---- barriers and fences

void syncthreads() {
    STEEP_HERE;
    machine.barrier(0, 0, true);
}
void barrier(unsigned id, unsigned threads, bool waits) {
    STEEP_HERE;
    machine.barrier(id, threads, waits);
}
void fence() {
    STEEP_HERE;
    memory.fence();
}
void atomic(void *address, size_t bytes) {
    STEEP_HERE;
    memory.atomic(address, bytes);
}

/// The one instruction of a warp that also orders its memory accesses.
void syncwarp(unsigned mask) {
    STEEP_HERE;
    machine.collective("__syncwarp", mask, machine.thread, [](void **lanes) {
        Meeting meeting;
        for (int lane = 0; lane < 32; lane++) {
            if (lanes[lane]) meeting.join(*static_cast<Thread *>(lanes[lane]));
        }
        const auto all = std::make_shared<const Clock>(std::move(meeting.all));
        for (int lane = 0; lane < 32; lane++) {
            if (lanes[lane]) static_cast<Thread *>(lanes[lane])->known = all;
        }
    });
}

// ---- exchanges

uint64_t shuffle(const char *name, unsigned mask, uint64_t value, unsigned from) {
    STEEP_HERE;
    struct Operands {
        uint64_t value, result;
        unsigned from;
    } mine{value, 0, from};
    if (!(mask >> from & 1))
        fault("bad mask", text("executes %s from lane %u, which mask %08x lacks", name, from, mask));
    machine.collective(name, mask, &mine, [](void **lanes) {
        for (int lane = 0; lane < 32; lane++) {
            auto *to = static_cast<Operands *>(lanes[lane]);
            if (to) to->result = static_cast<Operands *>(lanes[to->from])->value;
        }
    });
    return mine.result;
}

unsigned ballot(const char *name, unsigned mask, bool predicate) {
    STEEP_HERE;
    struct Operands {
        bool predicate;
        unsigned result;
    } mine{predicate, 0};
    machine.collective(name, mask, &mine, [](void **lanes) {
        unsigned votes = 0;
        for (int lane = 0; lane < 32; lane++) {
            auto *of = static_cast<Operands *>(lanes[lane]);
            if (of && of->predicate) votes |= 1u << lane;
        }
        for (int lane = 0; lane < 32; lane++) {
            if (lanes[lane]) static_cast<Operands *>(lanes[lane])->result = votes;
        }
    });
    return mine.result;
}

// ---- memory

void load(const void *from, u32 *words, unsigned bytes) {
    STEEP_HERE;
    memory.access(from, bytes, false, true);
    memcpy(words, from, bytes);
}
void store(void *to, const u32 *words, unsigned bytes) {
    STEEP_HERE;
    memory.access(to, bytes, true, true);
    memcpy(to, words, bytes);
}
void cp_async(void *to, const void *from, unsigned bytes) {
    STEEP_HERE;
    memory.cp_async(to, from, bytes);
}
void cp_async_commit() {
    STEEP_HERE;
    memory.cp_async_commit();
}
void cp_async_wait(unsigned pending) {
    STEEP_HERE;
    memory.cp_async_wait(pending);
}

uint64_t peek(const void *address, size_t bytes) {
    uint64_t value = 0;
    memcpy(&value, address, bytes);
    return value;
}
void poke(void *address, uint64_t value, size_t bytes) {
    memcpy(address, &value, bytes);
}

// ---- matrices

/// Lane 8i + r gives row r of matrix i. Lane l gets two neighbours of row l/4, or of column l/4 if
/// transposed.
void ldmatrix(u32 *registers, unsigned matrices, bool transposed, const void *row) {
    STEEP_HERE;
    struct Operands {
        u32 *registers;
        const u8 *row;
        unsigned matrices;
        bool transposed;
    } mine{registers, static_cast<const u8 *>(row), matrices, transposed};
    // Each lane that gives an address answers for what is there.
    if (lane() < 8 * matrices) memory.access(row, 16, false, true);
    static const char *const names[] = {"ldmatrix.x2", "ldmatrix.x2.trans", "ldmatrix.x4",
                                        "ldmatrix.x4.trans"};
    const char *name = names[matrices / 4 * 2 + transposed];
    machine.collective(name, ~0u, &mine, [](void **lanes) {
        const auto of = [&](int lane) -> Operands & { return *static_cast<Operands *>(lanes[lane]); };
        for (int lane = 0; lane < 32; lane++) {
            for (unsigned m = 0; m < of(lane).matrices; m++) {
                u32 word = 0;
                for (int half = 0; half < 2; half++) {
                    const int outer = lane / 4, inner = 2 * (lane % 4) + half;
                    const int r = of(0).transposed ? inner : outer, c = of(0).transposed ? outer : inner;
                    u16 element;
                    memcpy(&element, of(8 * m + r).row + 2 * c, 2);
                    word |= static_cast<u32>(element) << 16 * half;
                }
                of(lane).registers[m] = word;
            }
        }
    });
}

/// d += a·b; which lane holds which element is said in kernels/ptx.cuh.
void mma_m16n8k16(float *d, const u32 *a, const u32 *b, float (*value)(u16)) {
    STEEP_HERE;
    struct Operands {
        float *d;
        const u32 *a, *b;
        float (*value)(u16);
    } mine{d, a, b, value};
    machine.collective("mma.m16n8k16", ~0u, &mine, [](void **lanes) {
        float a[16][16], b[16][8];
        for (int lane = 0; lane < 32; lane++) {
            const auto &of = *static_cast<Operands *>(lanes[lane]);
            const int g = lane / 4, t = lane % 4;
            for (int i = 0; i < 4; i++) {
                for (int half = 0; half < 2; half++) {
                    a[g + i % 2 * 8][2 * t + i / 2 * 8 + half] =
                        of.value(static_cast<u16>(of.a[i] >> 16 * half));
                    if (i < 2) b[2 * t + i * 8 + half][g] = of.value(static_cast<u16>(of.b[i] >> 16 * half));
                }
            }
        }
        for (int lane = 0; lane < 32; lane++) {
            auto &of = *static_cast<Operands *>(lanes[lane]);
            for (int i = 0; i < 4; i++) {
                const int row = lane / 4 + i / 2 * 8, column = 2 * (lane % 4) + i % 2;
                // Products are exact; they are added in f32.
                float sum = of.d[i];
                for (int k = 0; k < 16; k++) sum += a[row][k] * b[k][column];
                of.d[i] = sum;
            }
        }
    });
}

// ---- numbers

float bf16_value(u16 bits) {
    const u32 wide = static_cast<u32>(bits) << 16;
    float x;
    memcpy(&x, &wide, 4);
    return x;
}

u16 f16_bits(float x) {
    if (std::isnan(x)) return 0x7fff;
    const u16 sign = std::signbit(x) ? 0x8000 : 0;
    const double size = std::fabs(static_cast<double>(x));
    // From here on numbers round to infinity.
    if (size >= 65520.0) return sign | 0x7c00;
    // In units of the last place; nearbyint rounds ties to even. A carry into the exponent is right as it is.
    int exponent = size > 0 ? std::ilogb(size) : -14;
    if (exponent < -14) exponent = -14;
    const auto mantissa = static_cast<u32>(std::nearbyint(std::ldexp(size, 10 - exponent)));
    const u32 biased = mantissa >= 1024 ? static_cast<u32>(exponent + 14) << 10 : 0;
    return static_cast<u16>(sign | (biased + mantissa));
}

float f16_value(u16 bits) {
    const float sign = bits & 0x8000 ? -1.0f : 1.0f;
    const int exponent = bits >> 10 & 31, mantissa = bits & 1023;
    if (exponent == 31) return mantissa ? NAN : sign * INFINITY;
    if (exponent == 0) return sign * std::ldexp(static_cast<float>(mantissa), -24);
    return sign * std::ldexp(static_cast<float>(1024 + mantissa), exponent - 25);
}

} // namespace emulator
