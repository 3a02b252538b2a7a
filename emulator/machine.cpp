// The scheduler: fibres, barriers, instructions of whole warps.
#include "machine.h"

#include <link.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>

#include "counters.h"
#include "memory.h"

namespace emulator {

Machine machine;

std::string text(const char *format, ...) {
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    return line;
}

std::string name(const Thread &thread) {
    const Index b = machine.block;
    return text("thread %u of block (%u, %u, %u)", thread.id, b.x, b.y, b.z);
}

namespace {

/// Where this program lies in memory.
uintptr_t base() {
    uintptr_t at = 0;
    // The first one is the program.
    dl_iterate_phdr([](dl_phdr_info *i, size_t, void *to) { return *static_cast<uintptr_t *>(to) = i->dlpi_addr, 1; },
                    &at);
    return at;
}

/// `kernel.cu:41` of `/folder/kernel.cu:41 (discriminator 2)`.
std::string without_folder(std::string place) {
    place.erase(std::min(place.find(" (discriminator"), place.size()));
    const size_t slash = place.rfind('/');
    return slash == std::string::npos ? place : place.substr(slash + 1);
}

/// What addr2line says of each address: the innermost function first, then those that it was inlined into.
std::vector<std::vector<std::string>> frames(const std::vector<const void *> &addresses) {
    std::vector<std::vector<std::string>> found(addresses.size());
    char program[4096] = {};
    if (addresses.empty() || readlink("/proc/self/exe", program, sizeof program - 1) < 0) return found;
    std::string command = "exec addr2line -a -i -e '" + std::string(program) + "'";
    // The address of a call is before the one that it returns to.
    for (const void *address : addresses) command += text(" 0x%zx", reinterpret_cast<uintptr_t>(address) - 1 - base());
    FILE *pipe = popen((command + " 2>/dev/null").c_str(), "r");
    if (pipe == nullptr) return found;
    size_t next = 0;
    char line[4096];
    while (fgets(line, sizeof line, pipe)) {
        std::string place = line;
        while (!place.empty() && place.back() == '\n') place.pop_back();
        // Each address stands above its frames.
        if (place.compare(0, 2, "0x") == 0) {
            next++;
        } else if (next > 0 && next <= found.size()) {
            found[next - 1].push_back(without_folder(place));
        }
    }
    pclose(pipe);
    return found;
}

/// The user's line among the frames of an address.
std::string user_line(const std::vector<std::string> &frames) {
    std::string inner;
    for (const std::string &place : frames) {
        const std::string file = place.substr(0, place.rfind(':'));
        const auto ends = [&](const char *with) {
            return file.size() > strlen(with) && file.compare(file.size() - strlen(with), strlen(with), with) == 0;
        };
        if (ends(".cu")) return inner.empty() ? place : place + ", in " + inner;
        // The outermost header that is not the emulator's own.
        if (ends(".cuh")) inner = place;
    }
    return inner;
}

} // namespace

std::string line(const void *address) {
    return address == nullptr ? "" : user_line(frames({address}).front());
}

std::vector<std::string> lines(const std::vector<const void *> &addresses) {
    // A command has room for many, not for all.
    constexpr size_t AT_ONCE = 1000;
    std::map<const void *, std::string> known;
    for (const void *address : addresses) known[address];
    std::vector<const void *> all;
    for (const auto &entry : known) all.push_back(entry.first);
    for (size_t from = 0; from < all.size(); from += AT_ONCE) {
        const std::vector<const void *> some(all.begin() + from, all.begin() + std::min(all.size(), from + AT_ONCE));
        const auto found = frames(some);
        for (size_t i = 0; i < some.size(); i++) known[some[i]] = user_line(found[i]);
    }
    std::vector<std::string> names;
    for (const void *address : addresses) names.push_back(known[address]);
    return names;
}

std::string quoted(const std::string &text) {
    std::string all;
    for (const char c : text) {
        if (c == '"' || c == '\\') all += '\\';
        if (static_cast<unsigned char>(c) >= ' ') all += c;
    }
    return all;
}

std::string at_line(const void *address) {
    const std::string place = line(address);
    return place.empty() ? "" : " (" + place + ")";
}

void fault(const char *kind, const std::string &what) {
    fflush(stdout);
    const std::string who = machine.thread ? name(*machine.thread) + " " : "", where = line(machine.here);
    const size_t comma = where.find(", in ");
    const std::string place = where.empty() ? "" : where.substr(0, comma) + ": ";
    const std::string inner = comma == std::string::npos ? "" : " (" + where.substr(comma + 2) + ")";
    fprintf(stderr, "%s%s: %s%s%s\n", place.c_str(), kind, who.c_str(), what.c_str(), inner.c_str());
    // What led to it.
    trace.write();
    _Exit(1);
}

namespace {

/// Seconds of computing that a launch may take: hundreds of times as long as any that is right.
constexpr time_t SECONDS = 30;

void too_long(int, siginfo_t *, void *context) {
    const auto &registers = static_cast<ucontext_t *>(context)->uc_mcontext;
#if defined(__x86_64__)
    machine.here = reinterpret_cast<const void *>(registers.gregs[REG_RIP] + 1);
#elif defined(__aarch64__)
    machine.here = reinterpret_cast<const void *>(registers.pc + 1);
#else
    (void)registers;
#endif
    endless(text("%d seconds of computing", int(SECONDS)));
}

void limit_time() {
    static char stack[256 << 10];
    stack_t own = {};
    own.ss_sp = stack;
    own.ss_size = sizeof stack;
    sigaltstack(&own, nullptr);
    struct sigaction action = {};
    action.sa_sigaction = too_long;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaction(SIGPROF, &action, nullptr);
    const itimerval limit = {{0, 0}, {SECONDS, 0}};
    setitimer(ITIMER_PROF, &limit, nullptr);
}

} // namespace

void endless(const std::string &after) {
    fault("endless loop", "does not end: " + after +
                              "; a thread runs until it waits at a barrier, so none can wait for another in a loop");
}

void Machine::run(const Launch &l) {
    launch = l;
    limit_time();
    random.seed(launch.seed);
    const Index g = launch.grid;
    std::vector<Index> blocks;
    for (unsigned z = 0; z < g.z; z++)
        for (unsigned y = 0; y < g.y; y++)
            for (unsigned x = 0; x < g.x; x++) blocks.push_back({x, y, z});
    std::shuffle(blocks.begin(), blocks.end(), random);
    for (block_id = 0; block_id < blocks.size(); block_id++) {
        block = blocks[block_id];
        run_block();
    }
}

void Machine::run_block() {
    const Index size = launch.block;
    const unsigned count = size.x * size.y * size.z;
    threads.assign(count, Thread());
    ready.clear();
    std::fill(barriers, barriers + 16, Barrier());
    warps.assign((count + 31) / 32, {});
    memory.begin_block();
    counters.begin_block(count);
    const auto nothing = std::make_shared<const Clock>(count, 0);
    for (unsigned id = 0; id < count; id++) {
        Thread &t = threads[id];
        t.id = id;
        t.index = {id % size.x, id / size.x % size.y, id / size.x / size.y};
        t.known = nothing;
        ready.push_back(&t);
    }
    // A fibre is born by swapcontext, which is slow but portable; from then on it is switched by longjmp.
    for (running = count; running > 0;) {
        if (ready.empty()) deadlock();
        std::swap(ready[random() % ready.size()], ready.back());
        thread = ready.back();
        ready.pop_back();
        if (_setjmp(scheduler) == 0) {
            if (thread->born) _longjmp(thread->context, 1);
            thread->born = true;
            static ucontext_t birth, back;
            getcontext(&birth);
            birth.uc_stack.ss_sp = memory.stack(thread->id);
            birth.uc_stack.ss_size = Memory::STACK;
            birth.uc_link = nullptr;
            makecontext(&birth, &Machine::fibre, 0);
            swapcontext(&back, &birth);
        }
        thread = nullptr;
    }
    memory.end_block();
    counters.end_block();
}

void Machine::fibre() {
    machine.launch.kernel();
    Thread &t = *machine.thread;
    if (!t.uncommitted.empty()) fault("unfinished copy", "returns without having committed a cp.async");
    for (const auto &group : t.groups) {
        if (!group.empty()) fault("unfinished copy", "returns without having waited for a cp.async");
    }
    if (trace.sees()) {
        machine.here = nullptr;
        trace.note("returns");
    }
    t.done = true;
    machine.running--;
    _longjmp(machine.scheduler, 1);
}

void Machine::wait(Wait what) {
    what.at = here;
    thread->waits = what;
    if (_setjmp(thread->context) == 0) _longjmp(scheduler, 1);
}

void Machine::wake(Thread *t) {
    ready.push_back(t);
}

void Machine::deadlock() {
    // Threads that wait for the same thing make one line.
    std::map<std::pair<std::string, const void *>, std::vector<unsigned>> waiting;
    unsigned returned = 0;
    for (const Thread &t : threads) {
        const Wait &w = t.waits;
        if (t.done)
            returned++;
        else if (w.name)
            waiting[{text("%s of warp %u, mask %08x", w.name, w.id, w.count), w.at}].push_back(t.id);
        else
            waiting[{text("barrier %u, %u threads", w.id, w.count), w.at}].push_back(t.id);
    }
    std::string all = text("block (%u, %u, %u) cannot go on", block.x, block.y, block.z);
    for (const auto &[what, who] : waiting) {
        all += text("; %zu threads (%u to %u) wait at %s", who.size(), who.front(), who.back(), what.first.c_str());
        all += at_line(what.second);
        here = what.second;
    }
    if (returned) all += text("; %u threads have returned", returned);
    thread = nullptr;
    fault("deadlock", all);
}

void Meeting::join(Thread &t) {
    // Most of those who meet now have met before, all of them.
    if (t.known != last) {
        all.resize(t.known->size(), 0);
        for (size_t i = 0; i < all.size(); i++) all[i] = std::max(all[i], (*t.known)[i]);
        last = t.known;
    }
    all[t.id] = std::max(all[t.id], t.clock);
    // What it does from now on, the others do not know.
    t.clock++;
}

void Machine::barrier(unsigned id, unsigned expected, bool waits) {
    memory.step();
    const unsigned count = static_cast<unsigned>(threads.size());
    if (expected == 0) expected = count;
    if (id > 15) fault("bad barrier", text("uses barrier %u; there are 0 to 15", id));
    if (expected > count || (expected % 32 != 0 && expected != count)) {
        fault("bad barrier", text("wants %u threads at barrier %u of a block of %u", expected, id, count));
    }
    Barrier &b = barriers[id];
    if (b.arrived == 0) {
        b.expected = expected;
    } else if (b.expected != expected) {
        fault("bad barrier",
              text("wants %u threads at barrier %u, others want %u", expected, id, b.expected));
    }
    b.arrived++;
    b.meeting.join(*thread);
    counters.arrive(id);
    if (trace.sees()) trace.note(text("%s at barrier %u", waits ? "waits" : "arrives", id));
    if (waits) b.waiting.push_back(thread);
    if (b.arrived == b.expected) {
        const auto all = std::make_shared<const Clock>(std::move(b.meeting.all));
        for (Thread *t : b.waiting) {
            t->known = all;
            if (t != thread) wake(t);
        }
        b = Barrier();
        counters.open(id);
        if (trace.sees()) trace.note_all(text("barrier %u opens", id));
    } else if (waits) {
        wait({nullptr, id, expected});
    }
}

void Machine::collective(const char *name, unsigned mask, void *operands, void (*work)(void **)) {
    memory.step();
    const unsigned lane = thread->id % 32, warp = thread->id / 32;
    const size_t lanes = std::min<size_t>(32, threads.size() - warp * 32);
    if (!(mask >> lane & 1))
        fault("bad mask", text("executes %s with mask %08x, which lacks its lane", name, mask));
    if (lanes < 32 && mask >> lanes) {
        fault("bad mask", text("executes %s with mask %08x in a warp of %zu lanes", name, mask, lanes));
    }
    auto &open = warps[warp];
    auto it =
        std::find_if(open.begin(), open.end(), [=](const Collective &c) { return (c.mask & mask) != 0; });
    if (it == open.end()) {
        open.push_back(Collective());
        it = open.end() - 1;
        it->name = name;
        it->mask = mask;
    } else if (strcmp(it->name, name) != 0 || it->mask != mask) {
        fault("divergence",
              text("executes %s with mask %08x while others of its warp wait in %s with mask %08x", name,
                   mask, it->name, it->mask));
    }
    // What ldmatrix reads, its lanes have told.
    if (strncmp(name, "mma", 3) == 0) {
        counters.event(Kind::MMA);
    } else if (strncmp(name, "ldmatrix", 8) != 0) {
        counters.event(Kind::EXCHANGE);
    }
    if (trace.sees()) trace.note(name);
    it->lanes[lane] = thread;
    it->operands[lane] = operands;
    it->arrived |= 1u << lane;
    if (it->arrived != mask) {
        wait({name, warp, mask});
        return;
    }
    Collective all = *it;
    open.erase(it);
    work(all.operands);
    for (Thread *t : all.lanes) {
        if (t && t != thread) wake(t);
    }
}

} // namespace emulator
