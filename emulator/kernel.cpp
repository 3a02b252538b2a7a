// One kernel as a program: reads a launch from standard input, executes it, writes what it wrote to standard
// output.
//
//     g++ -fsanitize=thread -c -DSTEEP_EMULATOR -DKERNEL='"modulate.cu"' -DENTRY=modulate -DT=f16 -DO=f16 ..
//     kernel.cpp
//
// The .cu file is compiled as it stands. Input, in 32-bit words: seed, grid x y z, block x y z, bytes of
// dynamic shared memory, number of tensors; per tensor: whether the kernel may write it, bytes, data; bytes
// of params, params; whether there is a gate, its flag, `want`. Output: the written tensors one after the
// other, then, if there is a gate, how often it let the call pass and how often it turned it away, then, for each
// condition of a graph that the kernel sets, its handle in two words and the value.
//
// With the argument `signature` it prints what the kernel takes instead: w and r for tensors that it may and
// may not write, the bytes of its params, g for the gate.
struct Gate;
#include "device.h"
#include KERNEL

#include <cstdio>
#include <cstdlib>
#include <tuple>
#include <utility>
#include <vector>

#include "counters.h"
#include "machine.h"
#include "memory.h"

/// The macros of the kernel, as the driver tells them.
#ifndef STEEP_DEFINES
#define STEEP_DEFINES ""
#endif
#define UNWATCHED __attribute__((no_sanitize("thread")))
#define NAME_(x) #x
#define NAME(x) NAME_(x)

namespace {

UNWATCHED void receive(void *to, size_t bytes) {
    if (bytes > 0 && fread(to, bytes, 1, stdin) != 1) {
        fprintf(stderr, "the launch ends too early\n");
        exit(2);
    }
}

UNWATCHED unsigned word() {
    unsigned w;
    receive(&w, 4);
    return w;
}

/// The kernel's arguments, handed out in order as its signature asks for them.
struct Arguments {
    std::vector<uint8_t *> tensors;
    std::vector<uint8_t> params;
    const unsigned *flag = nullptr;
    unsigned *tally = nullptr;
    unsigned want = 0;
    size_t next = 0;

    template <class A>
    UNWATCHED A take() {
        if constexpr (std::is_pointer_v<A>) {
            if (next == tensors.size()) {
                fprintf(stderr, "the kernel takes more tensors than the launch has\n");
                exit(2);
            }
            return (A)(tensors[next++]);
        } else if constexpr (std::is_same_v<A, Gate>) {
            return A{flag, tally, want};
        } else {
            if (sizeof(A) != params.size()) {
                fprintf(stderr, "Params has %zu bytes, the launch %zu\n", sizeof(A), params.size());
                exit(2);
            }
            return *reinterpret_cast<const A *>(params.data());
        }
    }
};

/// An argument's letter.
template <class A>
UNWATCHED void describe() {
    if constexpr (std::is_pointer_v<A>) {
        printf(std::is_const_v<std::remove_pointer_t<A>> ? "r " : "w ");
    } else if constexpr (std::is_same_v<A, Gate>) {
        printf("g ");
    } else {
        printf("%zu ", sizeof(A));
    }
}

template <class... A>
UNWATCHED void signature(void (*)(A...)) {
    (describe<A>(), ...);
}

/// What cudaGraphSetConditional was told.
uint32_t conditions[3 * 64];
size_t condition_words = 0;

/// Calls a kernel, whatever its signature. What is between the emulator and the kernel is not watched: only
/// the kernel's own accesses count.
template <class... A>
struct Kernel {
    using Function = void (*)(A...);
    static inline Function function;
    static inline std::tuple<A...> *arguments;

    Kernel(Function kernel, Arguments &from) {
        function = kernel;
        // Braces keep the order.
        arguments = new std::tuple<A...>{from.take<A>()...};
    }

    template <size_t... I>
    UNWATCHED static void call(std::index_sequence<I...>) {
        function(std::get<I>(*arguments)...);
    }

    UNWATCHED static void start() { call(std::index_sequence_for<A...>()); }
};

} // namespace

/// As the driver resolves it.
extern "C" UNWATCHED void cudaGraphSetConditional(unsigned long long handle, unsigned value) {
    if (condition_words + 3 > sizeof conditions / 4) return;
    for (unsigned word : {unsigned(handle), unsigned(handle >> 32), value}) conditions[condition_words++] = word;
}

UNWATCHED int main(int count, char **) {
    using namespace emulator;
    if (count > 1) {
        signature(::ENTRY);
        return 0;
    }
    Launch launch;
    launch.seed = word();
    for (unsigned *i : {&launch.grid.x, &launch.grid.y, &launch.grid.z}) *i = word();
    for (unsigned *i : {&launch.block.x, &launch.block.y, &launch.block.z}) *i = word();
    launch.shared_bytes = word();
    memory.set_dynamic_shared(launch.shared_bytes);
    Arguments arguments;
    std::vector<std::pair<uint8_t *, size_t>> written;
    const unsigned tensors = word();
    for (unsigned i = 0; i < tensors; i++) {
        const bool writable = word() != 0;
        const size_t bytes = word();
        uint8_t *at = memory.add_buffer("argument " + std::to_string(i), bytes, writable);
        receive(at, bytes);
        arguments.tensors.push_back(at);
        if (writable) written.push_back({at, bytes});
    }
    arguments.params.resize(word());
    receive(arguments.params.data(), arguments.params.size());
    if (word() != 0) {
        auto *flag = reinterpret_cast<unsigned *>(memory.add_buffer("the flag", 4, false));
        receive(flag, 4);
        arguments.flag = flag;
        auto *tally = memory.add_buffer("the tally", 8, true);
        memset(tally, 0, 8);
        arguments.tally = reinterpret_cast<unsigned *>(tally);
        written.push_back({tally, 8});
    } else {
        word();
    }
    arguments.want = word();
    Kernel kernel(::ENTRY, arguments);
    launch.kernel = kernel.start;
    machine.run(launch);
    emulator::counters.write(launch, STEEP_DEFINES);
    emulator::trace.write();
    for (const auto &[at, bytes] : written) fwrite(at, 1, bytes, stdout);
    fwrite(conditions, 4, condition_words, stdout);
    return fflush(stdout) == 0 ? 0 : 2;
}
