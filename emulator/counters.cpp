// Counting; see counters.h.
#include "counters.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace emulator {

Counters counters;

namespace {

constexpr unsigned SECTOR = 32, BANKS = 32, WORD = 4;

const char *name_of(Kind kind) {
    switch (kind) {
    case Kind::GLOBAL_READ: return "global read";
    case Kind::GLOBAL_WRITE: return "global write";
    case Kind::SHARED_READ: return "shared read";
    case Kind::SHARED_WRITE: return "shared write";
    case Kind::ATOMIC: return "atomic";
    case Kind::BARRIER: return "barrier";
    case Kind::EXCHANGE: return "exchange";
    case Kind::MMA: return "mma";
    default: return "special";
    }
}

bool is_shared(Kind kind) {
    return kind == Kind::SHARED_READ || kind == Kind::SHARED_WRITE;
}

} // namespace

Counters::Counters() {
    const char *value = getenv("EMULATOR_COUNTERS");
    on = value != nullptr && ::access(value, W_OK) == 0;
    if (on) path = value;
}

void Counters::begin_block(unsigned count) {
    if (!on) return;
    threads = count;
    blocks++;
    steps.assign(count, 0);
    waiting.clear();
    for (auto &[key, s] : sites) {
        s.times.assign(threads, 0);
        s.warps.assign((threads + 31) / 32, {});
    }
}

void Counters::end_block() {
    if (!on) return;
    for (auto &[key, s] : sites) {
        for (Warp &warp : s.warps) {
            for (const Group &group : warp.open) account(s, group);
            warp.open.clear();
        }
    }
}

uint32_t Counters::lanes_of(unsigned warp) const {
    const unsigned lanes = std::min(32u, threads - 32 * warp);
    return lanes == 32 ? ~0u : (1u << lanes) - 1;
}

Counters::Site &Counters::site(Kind kind) {
    const auto [it, fresh] = sites.try_emplace({machine.here, kind});
    Site &s = it->second;
    if (fresh) {
        s.kind = kind;
        s.at = machine.here;
        s.times.assign(threads, 0);
        s.warps.assign((threads + 31) / 32, {});
    }
    return s;
}

void Counters::access(Kind kind, unsigned region, size_t offset, size_t bytes) {
    if (!on) return;
    take(kind, {region, static_cast<uint32_t>(bytes), offset});
    if (is_shared(kind)) return;
    auto &all = kind == Kind::GLOBAL_READ ? read : written;
    if (all.size() <= region) all.resize(region + 1);
    auto &sectors = all[region];
    const size_t last = (offset + bytes - 1) / SECTOR;
    if (sectors.size() <= last) sectors.resize(last + 1);
    for (size_t s = offset / SECTOR; s <= last; s++) sectors[s] = true;
}

void Counters::take(Kind kind, Touched touched) {
    const unsigned id = machine.thread->id, lane = id % 32, warp = id / 32;
    Site &s = site(kind);
    steps[id]++;
    Warp &w = s.warps[warp];
    const uint32_t nth = s.times[id]++ - w.done;
    while (w.open.size() <= nth) w.open.emplace_back();
    Group &group = w.open[nth];
    group.lanes |= 1u << lane;
    group.at[lane] = touched;
    // What all lanes have done is done. Others come last, when the block ends.
    while (!w.open.empty() && w.open.front().lanes == lanes_of(warp)) {
        account(s, w.open.front());
        w.open.pop_front();
        w.done++;
    }
}

/// Adds a warp's access to the counts.
void Counters::account(Site &s, const Group &group) {
    s.count++;
    unsigned widest = 0;
    for (unsigned lane = 0; lane < 32; lane++) {
        if (!(group.lanes >> lane & 1)) continue;
        s.lanes++;
        s.bytes += group.at[lane].bytes;
        widest = std::max(widest, group.at[lane].bytes);
    }
    if (widest == 0) return;
    // Pieces of sectors, or words of banks, that some lane touches, each once.
    const auto pieces = [&](unsigned first, unsigned last, unsigned size) {
        std::map<std::pair<uint32_t, uint64_t>, uint32_t> found; // a bit for each byte
        for (unsigned lane = first; lane < last; lane++) {
            if (!(group.lanes >> lane & 1)) continue;
            const Touched &t = group.at[lane];
            for (uint64_t byte = t.offset; byte < t.offset + t.bytes; byte++) {
                found[{t.region, byte / size}] |= 1u << byte % size;
            }
        }
        return found;
    };
    if (!is_shared(s.kind)) {
        const auto sectors = pieces(0, 32, SECTOR);
        uint64_t bytes = 0;
        for (const auto &[where, mask] : sectors) bytes += __builtin_popcount(mask);
        s.moved += sectors.size();
        s.least += (bytes + SECTOR - 1) / SECTOR;
        return;
    }
    // A round serves a word of each bank; lanes of 8 bytes come in halves of the warp, lanes of 16 in
    // quarters.
    const unsigned together = widest <= 4 ? 32 : widest <= 8 ? 16 : 8;
    for (unsigned first = 0; first < 32; first += together) {
        unsigned of_bank[BANKS] = {}, most = 0;
        for (const auto &[where, mask] : pieces(first, first + together, WORD)) {
            unsigned &words = of_bank[where.second % BANKS];
            most = std::max(most, ++words);
        }
        s.moved += most;
        s.least += most > 0;
    }
}

void Counters::arrive(unsigned barrier) {
    if (!on) return;
    take(Kind::BARRIER, {});
    const unsigned id = machine.thread->id;
    waiting[barrier][id] = steps[id];
    steps[id] = 0;
}

void Counters::open(unsigned barrier) {
    if (!on) return;
    std::map<unsigned, uint64_t> warps;
    for (const auto &[id, count] : waiting[barrier]) warps[id / 32] = std::max(warps[id / 32], count);
    waiting.erase(barrier);
    uint64_t most = 0;
    for (const auto &[warp, count] : warps) most = std::max(most, count);
    Site &s = site(Kind::BARRIER);
    for (const auto &[warp, count] : warps) s.idle += most - count, s.slots += most;
}

void Counters::write(const Launch &launch, const std::string &defines) {
    if (!on) return;
    std::vector<const void *> places;
    for (const auto &[key, s] : sites) places.push_back(s.at);
    const std::vector<std::string> names = lines(places);
    const auto sectors = [](const std::vector<std::vector<bool>> &all) {
        uint64_t n = 0;
        for (const auto &region : all) n += std::count(region.begin(), region.end(), true);
        return static_cast<unsigned long long>(n * SECTOR);
    };
    FILE *file = fopen(path.c_str(), "a");
    if (file == nullptr) {
        perror(path.c_str());
        exit(2);
    }
    const Index b = launch.block;
    fprintf(file,
            "{\"defines\":\"%s\",\"blocks\":%llu,\"threads\":%u,\"read_bytes\":%llu,\"written_bytes\":%llu,"
            "\"rows\":[",
            quoted(defines).c_str(), static_cast<unsigned long long>(blocks), b.x * b.y * b.z, sectors(read),
            sectors(written));
    size_t i = 0;
    for (const auto &[key, s] : sites) {
        const auto n = [](uint64_t x) { return static_cast<unsigned long long>(x); };
        fprintf(
            file,
            "%s{\"kind\":\"%s\",\"place\":\"%s\",\"count\":%llu,\"lanes\":%llu,\"bytes\":%llu,\"moved\":%llu,"
            "\"least\":%llu,\"idle\":%llu,\"slots\":%llu}",
            i == 0 ? "" : ",", name_of(s.kind), quoted(names[i]).c_str(), n(s.count), n(s.lanes), n(s.bytes),
            n(s.moved), n(s.least), n(s.idle), n(s.slots));
        i++;
    }
    fprintf(file, "]}\n");
    fclose(file);
}

/// device.h calls it beside each of them.
void special() {
    STEEP_HERE;
    counters.event(Kind::SPECIAL);
}

} // namespace emulator
