// The scheduler: fibres, barriers, instructions of whole warps.
#include "machine.h"

#include <ucontext.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>

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

void fault(const char *kind, const std::string &what) {
    fflush(stdout);
    const std::string who = machine.thread ? name(*machine.thread) + " " : "";
    fprintf(stderr, "%s: %s%s\n", kind, who.c_str(), what.c_str());
    _Exit(1);
}

void Machine::run(const Launch &l) {
    launch = l;
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
}

void Machine::fibre() {
    machine.launch.kernel();
    Thread &t = *machine.thread;
    if (!t.uncommitted.empty()) fault("unfinished copy", "returns without having committed a cp.async");
    for (const auto &group : t.groups) {
        if (!group.empty()) fault("unfinished copy", "returns without having waited for a cp.async");
    }
    t.done = true;
    machine.running--;
    _longjmp(machine.scheduler, 1);
}

void Machine::wait(Wait what) {
    thread->waits = what;
    if (_setjmp(thread->context) == 0) _longjmp(scheduler, 1);
}

void Machine::wake(Thread *t) {
    ready.push_back(t);
}

void Machine::deadlock() {
    // Threads that wait for the same thing make one line.
    std::map<std::string, std::vector<unsigned>> waiting;
    unsigned returned = 0;
    for (const Thread &t : threads) {
        const Wait &w = t.waits;
        if (t.done)
            returned++;
        else if (w.name)
            waiting[text("%s of warp %u, mask %08x", w.name, w.id, w.count)].push_back(t.id);
        else
            waiting[text("barrier %u, %u threads", w.id, w.count)].push_back(t.id);
    }
    std::string all = text("block (%u, %u, %u) cannot go on", block.x, block.y, block.z);
    for (const auto &[what, who] : waiting) {
        all += text("; %zu threads (%u to %u) wait at %s", who.size(), who.front(), who.back(), what.c_str());
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
    if (waits) b.waiting.push_back(thread);
    if (b.arrived == b.expected) {
        const auto all = std::make_shared<const Clock>(std::move(b.meeting.all));
        for (Thread *t : b.waiting) {
            t->known = all;
            if (t != thread) wake(t);
        }
        b = Barrier();
    } else if (waits) {
        wait({nullptr, id, expected});
    }
}

void Machine::collective(const char *name, unsigned mask, void *operands, void (*work)(void **)) {
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
