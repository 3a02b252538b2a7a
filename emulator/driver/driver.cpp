// A CUDA driver and an NVRTC for machines that have neither: a shared library with as much of both interfaces
// as steep's executor uses, which compiles kernels with g++ and runs them in the emulator.
//
// The executor under test is the one that drives a GPU, byte for byte: it finds this library where it would find
// NVIDIA's. As strict as the real thing where that is lenient: nothing in a stream happens before somebody
// waits for it, pointers must begin an allocation, what is freed is gone, and arguments are checked against
// the kernel's own signature.
//
// From the environment: EMULATOR_COMPILE (a g++ command for kernel.cpp up to the macros, a word in each line),
// EMULATOR_PARTS (the emulator's objects, in lines too), EMULATOR_FORGIVES (1: after a fault that was told, work goes on,
// and nothing is said to standard error), EMULATOR_FOLDER (for programs and launches), EMULATOR_SEED, EMULATOR_LOG (a file that
// notes what was asked for), EMULATOR_EXECUTED (another, for the kernels of each graph, by name).
//
// It poses as other GPUs, drivers and compilers: EMULATOR_MEMORY (bytes of the GPU), EMULATOR_CAPABILITY (such as 90),
// EMULATOR_SHARED (bytes of shared memory of a block), EMULATOR_GRID (blocks along y and z), EMULATOR_MULTIPROCESSORS,
// EMULATOR_DRIVER (12080 is CUDA 12.8; it loads nothing that a compiler of a later major version made), EMULATOR_NVRTC (such
// as 13.0), EMULATOR_ARCHS (what the compiler makes machine code for, such as "75 80 90"), EMULATOR_LOADS (none: modules cannot
// be loaded), EMULATOR_FAULT (an op whose kernel faults), EMULATOR_CONDITIONAL (absent: there are no conditional nodes; never or
// always: their bodies run so whatever the condition).
//
// Here are the device, its memory and its stream; launch.cpp executes kernels, graphs.cpp keeps graphs, and
// nvrtc.cpp compiles.
#include "driver.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>

namespace driver {

std::string setting(const char *name, const char *otherwise) {
    const char *value = getenv(name);
    return value != nullptr ? value : otherwise;
}

int number(const char *name, const char *otherwise) {
    return std::stoi(setting(name, otherwise));
}

int capability() {
    return number("EMULATOR_CAPABILITY", "90");
}

int driver_version() {
    return number("EMULATOR_DRIVER", "12080");
}

unsigned most_shared() {
    return number("EMULATOR_SHARED", "232448");
}

unsigned most_blocks() {
    return number("EMULATOR_GRID", "65535");
}

int multiprocessors() {
    return number("EMULATOR_MULTIPROCESSORS", "132");
}

Status broken = SUCCESS;

std::map<uint64_t, std::vector<uint8_t>> memory;
std::map<uint64_t, size_t> extents;
size_t in_use = 0;

size_t total() {
    return std::stoull(setting("EMULATOR_MEMORY", "1073741824"));
}

std::vector<uint8_t> *find(uint64_t at) {
    const auto found = memory.find(at);
    return found == memory.end() ? nullptr : &found->second;
}

/// What went wrong last, for cuGetErrorString.
std::string last_fault;

bool forgives() {
    return setting("EMULATOR_FORGIVES") == "1";
}

Status fault(const std::string &what) {
    last_fault = what.substr(0, what.find_last_not_of('\n') + 1);
    if (!forgives()) fprintf(stderr, "emulator: %s\n", last_fault.c_str());
    return broken = ILLEGAL_ADDRESS;
}

void note(char what) {
    const std::string path = setting("EMULATOR_LOG");
    if (!path.empty()) std::ofstream(path, std::ios::app) << what;
}

std::vector<std::string> lines(const char *name) {
    std::istringstream text(setting(name));
    std::vector<std::string> all;
    for (std::string line; std::getline(text, line);) all.push_back(line);
    return all;
}

std::string contents(const std::string &path) {
    std::ifstream file(path, std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

/// What was enqueued and nobody has waited for.
std::vector<std::function<Status()>> stream;

Status enqueue(std::function<Status()> work) {
    if (broken != SUCCESS) return broken;
    stream.push_back(std::move(work));
    return SUCCESS;
}

Status drain() {
    auto work = std::move(stream);
    stream.clear();
    for (auto &item : work) {
        if (broken == SUCCESS) item();
    }
    const Status status = broken;
    if (forgives()) broken = SUCCESS;
    return status;
}

struct Event {
    double seconds = -1;
};

double now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

bool entered = false;

} // namespace driver

using namespace driver;

// NOLINTBEGIN: the names are NVIDIA's.

API int cuInit(unsigned) {
    return SUCCESS;
}
API int cuDriverGetVersion(int *version) {
    *version = driver_version();
    return SUCCESS;
}
API int cuDeviceGetCount(int *count) {
    *count = 1;
    return SUCCESS;
}
API int cuDeviceGet(int *device, int ordinal) {
    *device = ordinal;
    return ordinal == 0 ? SUCCESS : NO_DEVICE;
}
API int cuDeviceGetName(char *name, int bytes, int) {
    snprintf(name, bytes, "emulator");
    return SUCCESS;
}
API int cuDeviceGetAttribute(int *value, int which, int) {
    switch (which) {
    case 5: *value = 0x7fffffff; return SUCCESS; // blocks along x
    case 6:
    case 7: *value = most_blocks(); return SUCCESS;
    case 16: *value = multiprocessors(); return SUCCESS;
    case 75: *value = capability() / 10; return SUCCESS;
    case 76: *value = capability() % 10; return SUCCESS;
    case 97: *value = most_shared(); return SUCCESS;
    default: return INVALID_VALUE;
    }
}
API int cuDevicePrimaryCtxRetain(void **context, int) {
    *context = &entered;
    return SUCCESS;
}
API int cuDevicePrimaryCtxRelease_v2(int) {
    if (!memory.empty()) fprintf(stderr, "emulator: %zu allocations were never freed\n", memory.size());
    return SUCCESS;
}
API int cuCtxSetCurrent(void *context) {
    entered = context != nullptr;
    return SUCCESS;
}
API int cuStreamCreate(void **made, unsigned) {
    *made = &stream;
    return entered ? SUCCESS : INVALID_CONTEXT;
}
API int cuStreamDestroy_v2(void *) {
    return drain();
}
API int cuStreamSynchronize(void *) {
    note('W');
    return drain();
}

API int cuMemAlloc_v2(uint64_t *at, size_t bytes) {
    note('A');
    if (bytes == 0) return INVALID_VALUE;
    if (in_use + bytes > total()) return OUT_OF_MEMORY;
    in_use += bytes;
    // Poisoned: memory is not zero.
    std::vector<uint8_t> buffer(bytes, 0xcd);
    *at = reinterpret_cast<uint64_t>(buffer.data());
    extents[*at] = bytes;
    memory.emplace(*at, std::move(buffer));
    return broken;
}
API int cuMemFree_v2(uint64_t at) {
    drain();
    const auto *buffer = find(at);
    if (buffer == nullptr) return INVALID_VALUE;
    in_use -= buffer->size();
    memory.erase(at);
    return broken;
}
API int cuMemGetInfo_v2(size_t *free, size_t *all) {
    *all = total();
    *free = total() - in_use;
    return SUCCESS;
}
API int cuMemsetD8Async(uint64_t at, unsigned char value, size_t bytes, void *) {
    auto *buffer = find(at);
    if (buffer == nullptr || bytes > buffer->size()) return INVALID_VALUE;
    return enqueue([=] {
        memset(buffer->data(), value, bytes);
        extents[at] = bytes;
        return SUCCESS;
    });
}
API int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t bytes, void *) {
    auto *buffer = find(to);
    if (buffer == nullptr || bytes > buffer->size()) return INVALID_VALUE;
    const auto *start = static_cast<const uint8_t *>(from);
    return enqueue([buffer, to, copy = std::vector<uint8_t>(start, start + bytes)] {
        memcpy(buffer->data(), copy.data(), copy.size());
        extents[to] = copy.size();
        return SUCCESS;
    });
}
API int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t bytes, void *) {
    auto *buffer = find(from);
    if (buffer == nullptr || bytes > buffer->size()) return INVALID_VALUE;
    return enqueue([=] {
        memcpy(to, buffer->data(), bytes);
        return SUCCESS;
    });
}
API int cuEventCreate(Event **event, unsigned) {
    *event = new Event;
    return SUCCESS;
}
API int cuEventDestroy_v2(Event *event) {
    drain();
    delete event;
    return SUCCESS;
}
API int cuEventRecord(Event *event, void *) {
    note('E');
    return enqueue([=] {
        event->seconds = now();
        return SUCCESS;
    });
}
API int cuEventSynchronize(Event *) {
    note('W');
    return drain();
}
API int cuEventElapsedTime(float *ms, const Event *from, const Event *to) {
    if (from->seconds < 0 || to->seconds < 0) return INVALID_VALUE;
    *ms = static_cast<float>(1e3 * (to->seconds - from->seconds));
    return SUCCESS;
}
API int cuGetErrorName(int status, const char **name) {
    switch (status) {
    case OUT_OF_MEMORY: *name = "CUDA_ERROR_OUT_OF_MEMORY"; break;
    case INVALID_IMAGE: *name = "CUDA_ERROR_INVALID_IMAGE"; break;
    case NO_BINARY_FOR_GPU: *name = "CUDA_ERROR_NO_BINARY_FOR_GPU"; break;
    case ILLEGAL_ADDRESS: *name = "CUDA_ERROR_ILLEGAL_ADDRESS"; break;
    case NOT_SUPPORTED: *name = "CUDA_ERROR_NOT_SUPPORTED"; break;
    default: *name = "CUDA_ERROR"; break;
    }
    return SUCCESS;
}
API int cuGetErrorString(int status, const char **text) {
    switch (status) {
    case OUT_OF_MEMORY: *text = "out of memory"; break;
    case INVALID_IMAGE: *text = "device kernel image is invalid"; break;
    case NO_BINARY_FOR_GPU: *text = "no kernel image is available for execution on the device"; break;
    case ILLEGAL_ADDRESS:
        *text = forgives() ? last_fault.c_str() : "an illegal memory access was encountered";
        break;
    case NOT_SUPPORTED: *text = "operation not supported"; break;
    default: *text = "the emulator refuses this"; break;
    }
    return SUCCESS;
}
// NOLINTEND
