// What a launch does, counted: the numbers of a GPU's profiler that follow from addresses, and who did what
// when.
//
// A GPU's warp executes an instruction for its 32 lanes at once. Here each lane is a fibre that runs ahead of
// the others, so the accesses of a warp are put together afterwards: those that its lanes make at one place
// of the program, each for the nth time in its block, are one access of the warp. That is exact where the
// lanes take one path together, and an estimate where they part.
#pragma once
#include <deque>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "machine.h"

namespace emulator {

enum class Kind {
    GLOBAL_READ,
    GLOBAL_WRITE,
    SHARED_READ,
    SHARED_WRITE,
    ATOMIC,
    BARRIER,
    EXCHANGE,
    MMA,
    SPECIAL
};

/// Counts where EMULATOR_COUNTERS names a file that is there, and appends to it one object of JSON for the
/// launch.
class Counters {
  public:
    Counters();
    void begin_block(unsigned threads);
    void end_block();
    /// The current thread touches bytes of a region, counted from its begin.
    void access(Kind kind, unsigned region, size_t offset, size_t bytes);
    /// The current thread executes something that has no address.
    void event(Kind kind) {
        if (on) take(kind, {});
    }
    /// It comes to a barrier; and, at the last of those that the barrier waits for, all may go on.
    void arrive(unsigned barrier);
    void open(unsigned barrier);
    /// `defines`: the macros that the kernel was compiled with.
    void write(const Launch &launch, const std::string &defines);

  private:
    struct Touched {
        uint32_t region = 0, bytes = 0;
        uint64_t offset = 0;
    };
    /// An access of a warp, as far as its lanes have made it.
    struct Group {
        uint32_t lanes = 0;
        Touched at[32];
    };
    struct Warp {
        std::deque<Group> open;
        uint32_t done = 0; // groups before those
    };
    /// A kind of thing at a place of the program.
    struct Site {
        Kind kind;
        const void *at;
        std::vector<uint32_t> times; // of each thread
        std::vector<Warp> warps;
        // Of warps; of their lanes; bytes that lanes asked for.
        uint64_t count = 0, lanes = 0, bytes = 0;
        // What the hardware moves (sectors of 32 bytes, or rounds of shared memory), and the least that would
        // do.
        uint64_t moved = 0, least = 0;
        // At barriers: what warps could have done while they waited, of all that they could have.
        uint64_t idle = 0, slots = 0;
    };

    void take(Kind kind, Touched touched);
    void account(Site &site, const Group &group);
    Site &site(Kind kind);
    uint32_t lanes_of(unsigned warp) const;

    std::string path;
    bool on = false;
    unsigned threads = 0;
    uint64_t blocks = 0;
    std::map<std::pair<const void *, Kind>, Site> sites;
    // What each thread has done since its last barrier, and what those had that wait at one, by thread.
    std::vector<uint64_t> steps;
    std::map<unsigned, std::map<unsigned, uint64_t>> waiting;
    // Sectors of arguments that were read and written.
    std::vector<std::vector<bool>> read, written;
};

extern Counters counters;

/// Notes what the threads of one block, or of one warp of it, do: EMULATOR_TRACE is BLOCK or BLOCK,WARP, and
/// EMULATOR_TRACE_TO
/// a file that is there.
class Trace {
  public:
    Trace();
    /// Whether the current thread is one of those.
    bool sees() const { return on && watches(); }
    /// The current thread does this at machine.here.
    void note(const std::string &what);
    /// So do all who met.
    void note_all(const std::string &what);
    void write();

  private:
    struct Entry {
        unsigned warp;
        const void *at;
        uint32_t lanes;
        std::string what; // of the first that came
    };

    bool watches() const;

    bool on = false;
    std::string path;
    unsigned block = 0;
    int warp = -1;
    std::vector<Entry> entries;
    // How often a thread was at a place, and which entry the nth time of a warp is.
    std::map<std::pair<unsigned, const void *>, unsigned> times;
    std::map<std::tuple<unsigned, const void *, unsigned>, size_t> nth;
};

extern Trace trace;

} // namespace emulator
