// A CUDA grid on one CPU thread: the blocks one after another, the threads of a block as fibres.
//
// A fibre runs until it must wait for others: at a barrier, or at an instruction of a whole warp. Then the
// scheduler picks, by a seeded random choice, one that can go on; when none can and some have not returned,
// that is a deadlock, and the report says who waits for what. Each fault that is found ends the program with
// one line: what, who, where.
#pragma once
#include <csetjmp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

namespace emulator {

struct Index {
    unsigned x = 0, y = 0, z = 0;
};

/// Vector clock: element t counts what thread t of the block did.
using Clock = std::vector<uint32_t>;

/// 16 bytes on their way from global to shared memory (cp.async).
struct Copy {
    uint8_t *to;
    const uint8_t *from;
    unsigned bytes; // how many are read; the rest becomes 0
    bool early;     // what was there when the copy began, kept in `data`, or what is there when it ends
    uint8_t data[16];
};

/// What a thread waits for: barrier `id` with `count` threads, or an instruction of warp `id` with mask
/// `count`.
struct Wait {
    const char *name = nullptr;
    unsigned id = 0, count = 0;
    const void *at = nullptr; // where in the kernel
};

struct Thread {
    Index index;
    unsigned id = 0; // in its block
    bool born = false, done = false;
    Wait waits;
    // What it knows to have happened before: of other threads `known`, which those that met last have in
    // common; of itself everything.
    std::shared_ptr<const Clock> known;
    uint32_t clock = 1;
    Clock fenced; // what it knew at its last __threadfence
    std::vector<Copy> uncommitted;
    std::vector<std::vector<Copy>> groups; // committed, oldest first
    jmp_buf context;
};

/// All that the threads of a meeting know, put together.
struct Meeting {
    Clock all;
    std::shared_ptr<const Clock> last; // already in `all`

    void join(Thread &thread);
};

/// A barrier between two of its openings.
struct Barrier {
    unsigned expected = 0, arrived = 0;
    std::vector<Thread *> waiting;
    Meeting meeting;
};

/// One instruction that the lanes of a mask execute together; the last one to arrive does the work for all.
struct Collective {
    const char *name = nullptr;
    unsigned mask = 0, arrived = 0;
    Thread *lanes[32] = {};
    void *operands[32] = {};
};

struct Launch {
    Index grid, block;
    size_t shared_bytes = 0; // dynamic
    uint64_t seed = 0;
    void (*kernel)() = nullptr;
};

class Machine {
  public:
    /// Runs a grid to its end.
    void run(const Launch &launch);

    /// The thread that runs now; none outside of kernels.
    Thread *thread = nullptr;
    /// Where in the kernel it is: the address after its last call of the emulator.
    const void *here = nullptr;
    Index block; // of this index
    unsigned block_id = 0;
    Launch launch;
    std::mt19937_64 random;

    /// Stops the current thread until `wake` is called for it.
    void wait(Wait what);
    void wake(Thread *thread);
    /// A seeded choice.
    bool coin() { return random() & 1; }
    /// Arrives at barrier `id` with `expected` threads, and waits there unless told otherwise.
    void barrier(unsigned id, unsigned expected, bool waits);
    /// Joins the other lanes of `mask` at the instruction `name`; `work` sees the operands of all.
    void collective(const char *name, unsigned mask, void *operands, void (*work)(void **operands));

  private:
    void run_block();
    static void fibre();
    [[noreturn]] void deadlock();

    std::vector<Thread> threads;
    std::vector<Thread *> ready;
    Barrier barriers[16];
    std::vector<std::vector<Collective>> warps; // those that some lanes wait in
    unsigned running = 0;
    jmp_buf scheduler;
};

extern Machine machine;

/// The caller is in the kernel.
#define STEEP_HERE emulator::machine.here = __builtin_return_address(0)

/// `FILE:LINE: race: ...` and the like to standard error, the thread's name in it, then exit status 1. FILE:LINE is
/// `machine.here`.
[[noreturn]] void fault(const char *kind, const std::string &what);
/// The launch takes too long.
[[noreturn]] void endless(const std::string &after);
/// `FILE:LINE` of an address in the kernel; where that is not in the user's file, how the user's file came there:
/// `FILE:LINE, in common.cuh:87`. Nothing if it is not known.
std::string line(const void *address);
/// The same of many addresses at once.
std::vector<std::string> lines(const std::vector<const void *> &addresses);
/// The same in parentheses behind a space, for the end of a clause.
std::string at_line(const void *address);
/// "thread 3 of block (0, 1, 0)"
std::string name(const Thread &thread);
/// As it stands between quotes.
std::string quoted(const std::string &text);
/// printf into a string.
std::string text(const char *format, ...) __attribute__((format(printf, 1, 2)));

} // namespace emulator
