// Who did what at which line; see counters.h.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "counters.h"

namespace emulator {

Trace trace;

Trace::Trace() {
    const char *of = getenv("EMULATOR_TRACE"), *to = getenv("EMULATOR_TRACE_TO");
    on = of != nullptr && to != nullptr && access(to, W_OK) == 0;
    if (!on) return;
    path = to;
    char *end = nullptr;
    block = static_cast<unsigned>(strtoul(of, &end, 10));
    if (*end == ',') warp = static_cast<int>(strtoul(end + 1, nullptr, 10));
}

/// Blocks are counted as CUDA's indices run, x first.
bool Trace::watches() const {
    const Index b = machine.block, g = machine.launch.grid;
    const bool here = b.x + g.x * (b.y + g.y * b.z) == block && machine.thread != nullptr;
    return here && (warp < 0 || machine.thread->id / 32 == static_cast<unsigned>(warp));
}

void Trace::note(const std::string &what) {
    if (!sees()) return;
    const unsigned id = machine.thread->id;
    const unsigned n = times[{id, machine.here}]++;
    // A wait is another thing than its end, though at one place.
    const auto [found, fresh] = nth.try_emplace({id / 32, machine.here, n}, entries.size());
    if (fresh) entries.push_back({id / 32, machine.here, 0, what});
    entries[found->second].lanes |= 1u << id % 32;
}

void Trace::note_all(const std::string &what) {
    if (sees()) entries.push_back({~0u, machine.here, 0, what});
}

void Trace::write() {
    if (!on) return;
    std::vector<const void *> places;
    for (const Entry &entry : entries) places.push_back(entry.at);
    const std::vector<std::string> names = lines(places);
    FILE *file = fopen(path.c_str(), "a");
    if (file == nullptr) {
        perror(path.c_str());
        exit(2);
    }
    for (size_t i = 0; i < entries.size(); i++) {
        const Entry &e = entries[i];
        std::string who = "all";
        if (e.warp != ~0u) {
            who = text("warp %u", e.warp);
            if (e.lanes != ~0u) who += text(", lanes %08x", e.lanes);
        }
        fprintf(file, "%s\t%s\t%s\n", names[i].c_str(), who.c_str(), e.what.c_str());
    }
    fclose(file);
}

} // namespace emulator
