// What the parts of the emulated driver share; see driver.cpp.
#pragma once
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <vector>

/// Of a function of either interface.
#define API extern "C" __attribute__((visibility("default")))

namespace driver {

enum Status {
    SUCCESS = 0,
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    NO_DEVICE = 100,
    INVALID_IMAGE = 200,
    INVALID_CONTEXT = 201,
    NO_BINARY_FOR_GPU = 209,
    NOT_FOUND = 500,
    ILLEGAL_ADDRESS = 700,
    NOT_SUPPORTED = 801,
};

std::string setting(const char *name, const char *otherwise = "");
std::string contents(const std::string &path);
/// A setting that is a number.
int number(const char *name, const char *otherwise);

// ---- the GPU and the driver that it poses as

/// Compute capability, 90 for 9.0.
int capability();
/// 12080 for CUDA 12.8.
int driver_version();
/// Bytes of shared memory that a block can have.
unsigned most_shared();
/// Blocks of a grid along y and z.
unsigned most_blocks();
/// The lines of a setting.
std::vector<std::string> lines(const char *name);

/// What was asked for, a letter each: A allocation, L launch, G graph, E event, W wait.
void note(char what);

// ---- memory

extern std::map<uint64_t, std::vector<uint8_t>> memory;

/// Of allocations, how many bytes the host has set last: as long is the tensor that is in there. A kernel may not
/// touch what is behind.
extern std::map<uint64_t, size_t> extents;

/// The allocation that begins there, or none.
std::vector<uint8_t> *find(uint64_t at);

// ---- kernels

/// A kernel, loaded.
struct Function {
    std::string name, program;
    std::vector<std::string> signature;
    /// Bytes of dynamic shared memory that it may be launched with.
    unsigned most_shared = 48 << 10;
};

/// What the compiler makes: where the program is, and for whom. As a text: `MARK ELF|PTX ARCH MAJOR PROGRAM`.
struct Image {
    /// For any GPU from `arch` on, not only for those of its generation.
    bool ptx;
    /// 90 for sm_90.
    int arch;
    /// Of the compiler's version.
    int major;
    std::string program;
};
/// As of ELF files.
const std::string MARK = "\x7f" "ELF of the emulator: ";

/// A launch with its arguments' bytes.
struct Launch {
    const Function *function;
    unsigned grid[3], threads, shared;
    std::vector<std::vector<uint8_t>> arguments;
};

/// CUDA_KERNEL_NODE_PARAMS of CUDA 12.
struct NodeParams {
    Function *function;
    unsigned grid[3], block[3], shared;
    void **arguments, **extra, *kernel, *context;
};

/// Copies the arguments out of the caller's memory, as the driver does.
Launch prepare(const Function *f, const unsigned (&grid)[3], unsigned threads, unsigned shared, void **arguments);

/// Runs a program with a file as its input and others for what it says.
int execute(const std::vector<std::string> &command, const std::string &in, const std::string &out,
            const std::string &err);

/// A file's name that is this process's own.
std::string scratch(const char *name);

/// Executes a kernel. In a graph, `values` are those of its conditions so far.
Status run(const Launch &launch, std::map<uint64_t, uint32_t> *values = nullptr);

// ---- the stream

/// Whether a thread has entered the context; its address is the context.
extern bool entered;

/// Once a kernel has faulted, everything fails; see EMULATOR_FORGIVES.
extern Status broken;

Status fault(const std::string &what);

Status enqueue(std::function<Status()> work);

/// What was enqueued, done.
Status drain();

} // namespace driver
