// What a kernel may touch, and who touched it when.
//
// The kernel is compiled with -fsanitize=thread, but linked with the hooks in memory.cpp instead of that
// sanitizer's library: every load and store of the plain CUDA source first calls `access`. There it is
// checked against the bounds of what the kernel was given, and against the last accesses of the same two
// bytes by other threads. Two accesses that no barrier orders, one of them a write, are a race, in whatever
// order this run happened to execute them.
#pragma once
#include <cstdint>
#include <map>

#include "machine.h"

namespace emulator {

/// One thread at one moment of its clock.
struct Epoch {
    unsigned block = ~0u, thread = 0;
    uint32_t clock = 0;
    const void *at = nullptr; // where in the kernel
};

/// What is known of two bytes: the smallest element that a kernel stores.
struct Cell {
    Epoch write;
    std::vector<Epoch> reads; // since that write, those that do not follow from one another
    bool in_flight = false;   // destination of an unfinished cp.async
};

/// An argument, a `__shared__` array, or the dynamic shared memory.
struct Region {
    std::string name;
    uint8_t *at;
    size_t bytes;
    bool shared, writable;
    std::vector<Cell> cells;
};

class Memory {
  public:
    static constexpr size_t STACK = 64 << 10;

    /// Finds the `__shared__` arrays; makes room for stacks and dynamic shared memory.
    Memory();
    /// An argument of the kernel.
    uint8_t *add_buffer(const std::string &name, size_t bytes, bool writable);
    void set_dynamic_shared(size_t bytes);
    uint8_t *dynamic_shared() { return dynamic; }
    uint8_t *stack(unsigned thread) { return stacks + thread * STACK; }
    /// Shared memory holds NaN when a block begins.
    void begin_block();
    void end_block();

    /// Counts what a thread does, and ends a launch that does too much.
    void step();
    /// The current thread reads or writes; `aligned` if the address must be a multiple of the size.
    void access(const void *address, size_t bytes, bool write, bool aligned) { check(address, bytes, write, aligned, true); }
    void cp_async(void *to, const void *from, unsigned bytes);
    void cp_async_commit();
    void cp_async_wait(unsigned pending);
    /// An atomic operation: what was done before a fence before it is known to those who come to the same
    /// address later.
    void atomic(void *address, size_t bytes);
    void fence();

  private:
    /// `counted`: whether it is an instruction of the kernel, and not the end of a copy.
    void check(const void *address, size_t bytes, bool write, bool aligned, bool counted);
    Region *find(const void *address, size_t bytes, const char *verb);
    void touch(Region &region, const uint8_t *at, size_t bytes, bool write);
    bool ordered(const Epoch &epoch) const;
    void finish(const Copy &copy);

    std::vector<Region> regions;
    uint64_t accesses = 0, most = 0;
    std::string unwritten; // the first read of what nobody wrote, if there was one
    const void *unwritten_at = nullptr;
    Region *latest = nullptr; // where the last access was
    uint8_t *stacks = nullptr, *dynamic = nullptr;
    // Of other blocks: what the current one knows to have happened in them.
    std::map<unsigned, Clock> acquired;
    std::map<const void *, std::map<unsigned, Clock>> released;
};

extern Memory memory;

} // namespace emulator
