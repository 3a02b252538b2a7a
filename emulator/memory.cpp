// Bounds, races and asynchronous copies; the hooks that the compiler calls.
#include "memory.h"

#include "counters.h"

#include <cxxabi.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

// `__shared__` puts its variables into a section of their own, whose ends the linker names.
extern "C" __attribute__((weak)) uint8_t __start_steep_shared[], __stop_steep_shared[];

namespace emulator {

Memory memory;

namespace {

constexpr size_t MOST_THREADS = 1024, MOST_SHARED = 227 << 10;
/// Bytes around an argument that are nobody's, and as far as an address is said to be at it.
constexpr size_t ROOM = 1 << 20;
/// Accesses of a launch, barriers among them: five times as many as the largest case of the crate makes.
uint64_t most_accesses() {
    const char *value = getenv("EMULATOR_ACCESSES");
    return value != nullptr ? strtoull(value, nullptr, 10) : 100000000;
}
constexpr uint8_t POISON = 0xff; // NaN in every float type

uint8_t *reserve(size_t bytes) {
    void *at =
        mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) {
        perror("mmap");
        exit(2);
    }
    return static_cast<uint8_t *>(at);
}

/// `attention::keys` of `_ZZ9attentionE4keys` or `keys.0`.
std::string readable(const char *symbol) {
    int status = 0;
    char *plain = abi::__cxa_demangle(symbol, nullptr, nullptr, &status);
    std::string name = status == 0 ? plain : std::string(symbol).substr(0, std::string(symbol).find('.'));
    free(plain);
    // Without the arguments of the function around it.
    const size_t from = name.find('('), to = name.rfind("::");
    if (from != std::string::npos && to != std::string::npos && from < to) name.erase(from, to - from);
    return name;
}

/// Name, address and size of every `__shared__` array, from this program's own symbol table.
std::vector<Region> shared_arrays() {
    std::vector<Region> found;
    const int self = open("/proc/self/exe", O_RDONLY);
    struct stat about;
    if (self < 0 || fstat(self, &about) != 0) return found;
    void *mapped = mmap(nullptr, about.st_size, PROT_READ, MAP_PRIVATE, self, 0);
    if (mapped == MAP_FAILED) return found;
    const char *file = static_cast<const char *>(mapped);
    uintptr_t base = 0;
    // The first one is the program.
    dl_iterate_phdr(
        [](dl_phdr_info *i, size_t, void *to) { return *static_cast<uintptr_t *>(to) = i->dlpi_addr, 1; },
        &base);
    const auto *elf = reinterpret_cast<const ElfW(Ehdr) *>(file);
    const auto *sections = reinterpret_cast<const ElfW(Shdr) *>(file + elf->e_shoff);
    for (int i = 0; i < elf->e_shnum; i++) {
        const auto &table = sections[i];
        if (table.sh_type != SHT_SYMTAB) continue;
        const char *names = file + sections[table.sh_link].sh_offset;
        const auto *symbols = reinterpret_cast<const ElfW(Sym) *>(file + table.sh_offset);
        for (size_t s = 0; s < table.sh_size / sizeof *symbols; s++) {
            const auto &symbol = symbols[s];
            auto *at = reinterpret_cast<uint8_t *>(base + symbol.st_value);
            const std::string name = names + symbol.st_name;
            const bool array = (symbol.st_info & 15) == STT_OBJECT && symbol.st_size > 0;
            if (array && at >= __start_steep_shared && at < __stop_steep_shared &&
                name.find("steep_gap") == std::string::npos) {
                found.push_back({"shared " + readable(name.c_str()), at, symbol.st_size, true, true, {}});
            }
        }
    }
    return found;
}

std::string place(const Region &r, const void *at) {
    return text("%s + %td", r.name.c_str(), static_cast<const uint8_t *>(at) - r.at);
}

} // namespace

Memory::Memory() {
    most = most_accesses();
    stacks = reserve(MOST_THREADS * STACK);
    // Room behind it, so that what is past its end is nothing else.
    dynamic = reserve(2 * MOST_SHARED);
    regions.push_back({"dynamic shared memory", dynamic, 0, true, true, {}});
    if (__start_steep_shared == nullptr) return;
    for (Region &r : shared_arrays()) {
        r.cells.resize((r.bytes + 1) / 2);
        regions.push_back(std::move(r));
    }
}

uint8_t *Memory::add_buffer(const std::string &name, size_t bytes, bool writable) {
    // Addresses as an allocator of device memory gives them, with room on both sides.
    uint8_t *at = reserve(bytes + 2 * ROOM) + ROOM;
    latest = nullptr;
    regions.push_back({name, at, bytes, false, writable, {}});
    if (writable) regions.back().cells.resize((bytes + 1) / 2);
    return at;
}

void Memory::set_dynamic_shared(size_t bytes) {
    if (bytes > MOST_SHARED) fault("bad launch", text("%zu bytes of shared memory", bytes));
    regions[0].bytes = bytes;
    regions[0].cells.resize((bytes + 1) / 2);
}

void Memory::end_block() {
    if (unwritten.empty()) return;
    machine.here = unwritten_at;
    fault("uninitialised", unwritten);
}

void Memory::begin_block() {
    acquired.clear();
    for (const Region &r : regions) {
        if (r.shared) memset(r.at, POISON, r.bytes);
    }
}

Region *Memory::find(const void *address, size_t bytes, const char *verb) {
    const auto *at = static_cast<const uint8_t *>(address);
    if (at >= stacks && at < stacks + MOST_THREADS * STACK) return nullptr;
    const auto inside = [&](const Region &r) { return at >= r.at && at + bytes <= r.at + r.bytes; };
    if (latest && inside(*latest)) return latest;
    const Region *nearest = nullptr;
    size_t distance = SIZE_MAX;
    for (Region &r : regions) {
        if (inside(r)) return latest = &r;
        const uint8_t *end = r.at + r.bytes;
        const size_t away = at < r.at ? r.at - at : at < end ? 0 : at - end;
        if (away < distance) distance = away, nearest = &r;
    }
    if (distance > ROOM) {
        fault("out of bounds", text("%s %zu bytes near no tensor and no shared memory: an index below 0 wraps to a "
                                    "large one, and a pointer that nobody set points anywhere",
                                    verb, bytes));
    }
    fault("out of bounds", text("%s %zu bytes at %s, which has %zu bytes", verb, bytes,
                                place(*nearest, at).c_str(), nearest->bytes));
}

bool Memory::ordered(const Epoch &e) const {
    const Thread &me = *machine.thread;
    if (e.block == machine.block_id) return e.thread == me.id || (*me.known)[e.thread] >= e.clock;
    const auto known = acquired.find(e.block);
    return known != acquired.end() && known->second[e.thread] >= e.clock;
}

void Memory::touch(Region &r, const uint8_t *at, size_t bytes, bool write) {
    const Thread &me = *machine.thread;
    const char *verb = write ? "writes" : "reads";
    const Epoch now{machine.block_id, me.id, me.clock, machine.here};
    if (write && !r.writable) fault("read only", text("writes %s", place(r, at).c_str()));
    if (!r.writable) return;
    // A block's shared memory is its own: what another one did there is forgotten.
    const auto counts = [&](const Epoch &e) { return e.clock > 0 && (!r.shared || e.block == now.block); };
    const auto race = [&](const Epoch &e, const char *did) {
        const std::string who =
            text("thread %u%s", e.thread, e.block == now.block ? "" : " of another block");
        fault("race", text("%s %s, which %s %s%s; no barrier is between them", verb, place(r, at).c_str(),
                           who.c_str(), did, at_line(e.at).c_str()));
    };
    const size_t first = at - r.at;
    for (size_t i = first / 2; i < (first + bytes + 1) / 2; i++) {
        Cell &cell = r.cells[i];
        if (cell.in_flight && counts(cell.write)) {
            fault("unfinished copy", text("%s %s, into which thread %u's cp.async has not been waited for",
                                          verb, place(r, at).c_str(), cell.write.thread) +
                                         at_line(cell.write.at));
        }
        if (!write && r.shared && !counts(cell.write)) {
            // Perhaps another thread is about to, which is a race, and says more.
            if (unwritten.empty()) {
                unwritten = text("%s reads %s, which no thread of the block has written", name(me).c_str(),
                                 place(r, at).c_str());
                unwritten_at = machine.here;
            }
        }
        if (counts(cell.write) && !ordered(cell.write)) race(cell.write, "wrote");
        if (write) {
            for (const Epoch &e : cell.reads) {
                if (counts(e) && !ordered(e)) race(e, "read");
            }
            cell.reads.clear();
            cell.write = now;
            cell.in_flight = false;
        } else {
            // Reads that this one follows need not be remembered.
            auto &reads = cell.reads;
            const auto old = [&](const Epoch &e) { return !counts(e) || ordered(e); };
            reads.erase(std::remove_if(reads.begin(), reads.end(), old), reads.end());
            reads.push_back(now);
        }
    }
}

void Memory::step() {
    if (++accesses > most) endless(text("%llu accesses", static_cast<unsigned long long>(most)));
}

void Memory::check(const void *address, size_t bytes, bool write, bool aligned, bool counted) {
    if (!machine.thread) return;
    step();
    const char *verb = write ? "writes" : "reads";
    Region *r = find(address, bytes, verb);
    if (!r) return;
    const auto *at = static_cast<const uint8_t *>(address);
    if (aligned && reinterpret_cast<uintptr_t>(at) % bytes != 0) {
        fault("misaligned", text("%s %zu bytes at %s", verb, bytes, place(*r, at).c_str()));
    }
    touch(*r, at, bytes, write);
    if (!counted) return;
    const Kind kind = r->shared ? write ? Kind::SHARED_WRITE : Kind::SHARED_READ
                                : write ? Kind::GLOBAL_WRITE : Kind::GLOBAL_READ;
    counters.access(kind, static_cast<unsigned>(r - regions.data()), at - r->at, bytes);
}

void Memory::cp_async(void *to, const void *from, unsigned bytes) {
    if (bytes > 16) fault("bad copy", text("copies %u of 16 bytes", bytes));
    access(to, 16, true, true);
    Region *r = find(to, 16, "copies");
    if (!r || !r->shared) fault("bad copy", "copies to what is not shared memory");
    if (bytes > 0) access(from, bytes, false, false);
    if (reinterpret_cast<uintptr_t>(from) % 16 != 0)
        fault("misaligned", "copies 16 bytes from a misaligned address");
    const size_t first = (static_cast<uint8_t *>(to) - r->at) / 2;
    for (size_t i = first; i < first + 8; i++) r->cells[i].in_flight = true;
    memset(to, POISON, 16);
    Copy copy{static_cast<uint8_t *>(to), static_cast<const uint8_t *>(from), bytes, false, {}};
    // Early: what the source holds now. Late: what it holds when the copy must be done.
    copy.early = machine.coin();
    if (copy.early) memcpy(copy.data, from, bytes);
    machine.thread->uncommitted.push_back(copy);
    if (trace.sees()) {
        const Region *source = bytes > 0 ? find(from, bytes, "reads") : nullptr;
        const std::string what = source ? place(*source, from) : "nowhere";
        trace.note(text("copies %u of 16 bytes from %s to %s", bytes, what.c_str(), place(*r, to).c_str()));
    }
}

void Memory::finish(const Copy &copy) {
    Region *r = find(copy.to, 16, "copies");
    const Thread &me = *machine.thread;
    if (!copy.early && copy.bytes > 0) check(copy.from, copy.bytes, false, false, false);
    memset(copy.to, 0, 16);
    memcpy(copy.to, copy.early ? copy.data : copy.from, copy.bytes);
    const size_t first = (copy.to - r->at) / 2;
    for (size_t i = first; i < first + 8; i++) {
        r->cells[i].in_flight = false;
        r->cells[i].write = {machine.block_id, me.id, me.clock, machine.here};
    }
}

void Memory::cp_async_commit() {
    Thread &me = *machine.thread;
    if (trace.sees()) trace.note(me.uncommitted.empty() ? "commits no copy" : "commits its copies");
    me.groups.push_back(std::move(me.uncommitted));
    me.uncommitted.clear();
}

void Memory::cp_async_wait(unsigned pending) {
    auto &groups = machine.thread->groups;
    if (trace.sees()) {
        trace.note(text("waits until %u of %zu groups of copies are unfinished", pending, groups.size()));
    }
    while (groups.size() > pending) {
        for (const Copy &copy : groups.front()) finish(copy);
        groups.erase(groups.begin());
    }
}

void Memory::fence() {
    Thread &me = *machine.thread;
    me.fenced = *me.known;
    me.fenced[me.id] = me.clock;
}

void Memory::atomic(void *address, size_t bytes) {
    Region *r = find(address, bytes, "updates");
    if (!r) return;
    if (!r->writable) fault("read only", text("updates %s", place(*r, address).c_str()));
    if (reinterpret_cast<uintptr_t>(address) % bytes != 0) {
        fault("misaligned", text("updates %zu bytes at %s", bytes, place(*r, address).c_str()));
    }
    counters.access(Kind::ATOMIC, static_cast<unsigned>(r - regions.data()), static_cast<uint8_t *>(address) - r->at, bytes);
    const auto join = [](Clock &all, const Clock &more) {
        all.resize(std::max(all.size(), more.size()), 0);
        for (size_t i = 0; i < more.size(); i++) all[i] = std::max(all[i], more[i]);
    };
    auto &known = released[address];
    for (const auto &[block, clock] : known) join(acquired[block], clock);
    if (!machine.thread->fenced.empty()) join(known[machine.block_id], machine.thread->fenced);
    machine.thread->clock++;
}

} // namespace emulator

// ---- What -fsanitize=thread calls.

using emulator::memory;

extern "C" {
void __tsan_init() {}
void __tsan_func_entry(void *) {}
void __tsan_func_exit() {}
#define HOOKS(BYTES)                                                                                         \
    void __tsan_read##BYTES(void *p) {                                                                       \
        STEEP_HERE;                                                                                          \
        memory.access(p, BYTES, false, true);                                                                \
    }                                                                                                        \
    void __tsan_write##BYTES(void *p) {                                                                      \
        STEEP_HERE;                                                                                          \
        memory.access(p, BYTES, true, true);                                                                 \
    }                                                                                                        \
    void __tsan_unaligned_read##BYTES(void *p) {                                                             \
        STEEP_HERE;                                                                                          \
        memory.access(p, BYTES, false, true);                                                                \
    }                                                                                                        \
    void __tsan_unaligned_write##BYTES(void *p) {                                                            \
        STEEP_HERE;                                                                                          \
        memory.access(p, BYTES, true, true);                                                                 \
    }
HOOKS(1)
HOOKS(2)
HOOKS(4)
HOOKS(8)
HOOKS(16)
void __tsan_read_range(void *p, size_t bytes) {
    STEEP_HERE;
    memory.access(p, bytes, false, false);
}
void __tsan_write_range(void *p, size_t bytes) {
    STEEP_HERE;
    memory.access(p, bytes, true, false);
}
}
