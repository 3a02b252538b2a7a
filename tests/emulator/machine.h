// A CUDA grid on one CPU thread: the blocks one after another, the threads of a block as fibres.
//
// A fibre runs until it must wait for others: at a barrier, or at an instruction of a whole warp. Then the scheduler picks,
// by a seeded random choice, one that can go on; when none can and some have not returned, that is a deadlock, and the report
// says who waits for what. Each fault that is found ends the program with one line: what, who, where.
#pragma once
#include <csetjmp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <vector>

namespace emulator {

struct Index {
    unsigned x = 0, y = 0, z = 0;
};

/// Vector clock: element t counts what thread t of the block did that its owner knows to have happened before.
using Clock = std::vector<uint32_t>;

/// 16 bytes on their way from global to shared memory (cp.async).
struct Copy {
    uint8_t *to;
    const uint8_t *from;
    unsigned bytes;  // so many are read, the rest becomes 0
    bool early;      // what was there when the copy began, kept in `data`, or what is there when it ends
    uint8_t data[16];
};

struct Thread {
    Index index;
    unsigned id = 0;      // in its block
    bool born = false, done = false;
    std::string waits;    // for what, for people; empty when it can run
    Clock clock;
    Clock fenced;         // its clock at its last __threadfence
    std::vector<Copy> uncommitted;
    std::vector<std::vector<Copy>> groups;  // committed, oldest first
    jmp_buf context;
};

/// A barrier between two of its openings.
struct Barrier {
    unsigned expected = 0;                 // threads, as its users say
    unsigned arrived = 0;
    std::vector<Thread *> waiting;
    Clock together;                        // all that the arrived know
};

/// One instruction that the lanes of a mask execute together; the last one to arrive does the work for all.
struct Collective {
    std::string name;
    unsigned mask = 0, arrived = 0;
    Thread *lanes[32] = {};
    void *operands[32] = {};
};

struct Launch {
    Index grid, block;
    size_t shared_bytes = 0;               // dynamic
    uint64_t seed = 0;
    std::function<void()> kernel;
};

class Machine {
  public:
    /// Runs a grid to its end.
    void run(const Launch &launch);

    /// The thread that runs now; none outside of kernels.
    Thread *thread = nullptr;
    Index block;                           // of this index
    unsigned block_id = 0;
    Launch launch;
    std::mt19937_64 random;

    /// Stops the current thread until `wake` is called for it.
    void wait(const std::string &what);
    void wake(Thread *thread);
    /// A seeded choice.
    bool coin() { return random() & 1; }
    /// Arrives at barrier `id` with `expected` threads, and waits there unless told otherwise.
    void barrier(unsigned id, unsigned expected, bool waits);
    /// Joins the other lanes of `mask` at the instruction `name`; `work` sees the operands of all.
    void collective(const char *name, unsigned mask, void *operands, const std::function<void(void **)> &work);
    /// What one of these threads knows to have happened, they now all know.
    void share_clocks(const std::vector<Thread *> &threads);

  private:
    void run_block();
    static void fibre();
    [[noreturn]] void deadlock();

    std::vector<Thread> threads;
    std::vector<Thread *> ready;
    std::map<unsigned, Barrier> barriers;
    std::map<unsigned, std::vector<Collective>> warps;
    unsigned running = 0;
    jmp_buf scheduler;
};

extern Machine machine;

/// `race: ...` and the like to standard error, the thread's name in it, then exit status 1.
[[noreturn]] void fault(const char *kind, const std::string &what);
/// "thread 3 of block (0, 1, 0)"
std::string name(const Thread &thread);
/// printf into a string.
std::string text(const char *format, ...) __attribute__((format(printf, 1, 2)));

}  // namespace emulator
