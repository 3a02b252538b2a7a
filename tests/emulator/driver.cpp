// A CUDA driver and an NVRTC for machines that have neither: a shared library with as much of both interfaces
// as steep's executor uses, which compiles kernels with g++ and runs them in the emulator.
//
// The executor under test is the one that drives a GPU, byte for byte: it finds this library where it would find
// NVIDIA's. As strict as the real thing where that is lenient: nothing in a stream happens before somebody
// waits for it, pointers must begin an allocation, what is freed is gone, and arguments are checked against
// the kernel's own signature.
//
// From the environment: EMULATOR_COMPILE (a g++ command for kernel.cpp up to the macros), EMULATOR_PARTS (the emulator's
// objects), EMULATOR_FOLDER (for programs and launches), EMULATOR_SEED, EMULATOR_LOG (a file that notes what
// was asked for), and for tests of errors
// EMULATOR_MEMORY (bytes of the GPU), EMULATOR_CAPABILITY (such as 90), EMULATOR_FAULT (an op whose kernel
// faults).
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <map>
#include <sstream>
#include <string>
#include <vector>

namespace {

enum Status {
    SUCCESS = 0,
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    NO_DEVICE = 100,
    INVALID_IMAGE = 200,
    INVALID_CONTEXT = 201,
    NOT_FOUND = 500,
    ILLEGAL_ADDRESS = 700,
};

std::string setting(const char *name, const char *otherwise = "") {
    const char *value = getenv(name);
    return value != nullptr ? value : otherwise;
}

// ---- memory

std::map<uint64_t, std::vector<uint8_t>> memory;
size_t in_use = 0;

size_t total() {
    return std::stoull(setting("EMULATOR_MEMORY", "1073741824"));
}

std::vector<uint8_t> *find(uint64_t at) {
    const auto found = memory.find(at);
    return found == memory.end() ? nullptr : &found->second;
}

// ---- kernels

struct Function {
    std::string name, program;
    std::vector<std::string> signature;
};

/// A launch with its arguments' bytes.
struct Launch {
    const Function *function;
    unsigned grid[3], threads, shared;
    std::vector<std::vector<uint8_t>> arguments;
};

struct Gate {
    uint64_t flag, tally;
    uint32_t want, padding;
};

/// Once a kernel has faulted, everything fails.
Status broken = SUCCESS;

Status fault(const std::string &what) {
    fprintf(stderr, "emulator: %s\n", what.c_str());
    return broken = ILLEGAL_ADDRESS;
}

/// What was asked for, a letter each: A allocation, L launch, G graph, E event, W wait.
void note(char what) {
    const std::string path = setting("EMULATOR_LOG");
    if (!path.empty()) std::ofstream(path, std::ios::app) << what;
}

std::string contents(const std::string &path) {
    std::ifstream file(path, std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

void put(std::string &to, uint32_t word) {
    to.append(reinterpret_cast<const char *>(&word), 4);
}

/// Runs a program with a file as its input and others for what it says.
int execute(const std::string &program, const std::string &in, const std::string &out, const std::string &err,
            const char *argument = nullptr) {
    const pid_t child = fork();
    if (child == 0) {
        const int flags = O_WRONLY | O_CREAT | O_TRUNC;
        dup2(open(in.c_str(), O_RDONLY), 0);
        dup2(open(out.c_str(), flags, 0644), 1);
        dup2(open(err.c_str(), flags, 0644), 2);
        execl(program.c_str(), program.c_str(), argument, nullptr);
        _exit(127);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return status;
}

std::string scratch(const char *name) {
    return setting("EMULATOR_FOLDER") + "/" + std::to_string(getpid()) + "." + name;
}

Status run(const Launch &launch) {
    const std::string &name = launch.function->name;
    if (setting("EMULATOR_FAULT") == name) return fault("a fault that was asked for");
    static uint32_t launches = 0;
    std::string input;
    put(input, std::stoul(setting("EMULATOR_SEED", "1")) + launches++);
    for (unsigned n : launch.grid) put(input, n);
    for (unsigned n : {launch.threads, 1u, 1u, launch.shared}) put(input, n);
    std::string tensors, params, gate(12, '\0');
    uint32_t count = 0;
    std::vector<std::vector<uint8_t> *> written;
    uint32_t *tally = nullptr;
    for (size_t i = 0; i < launch.arguments.size(); i++) {
        const std::string &kind = launch.function->signature[i];
        const auto &bytes = launch.arguments[i];
        if (kind == "w" || kind == "r") {
            uint64_t at;
            memcpy(&at, bytes.data(), 8);
            auto *tensor = find(at);
            if (tensor == nullptr) return fault(name + ": argument " + std::to_string(i) + " is no allocation");
            put(tensors, kind == "w");
            put(tensors, tensor->size());
            tensors.append(tensor->begin(), tensor->end());
            if (kind == "w") written.push_back(tensor);
            count++;
        } else if (kind == "g") {
            Gate g;
            memcpy(&g, bytes.data(), sizeof g);
            if (g.flag != 0) {
                auto *flag = find(g.flag), *counts = find(g.tally);
                if (flag == nullptr || counts == nullptr) return fault(name + ": a gate of no allocation");
                gate.clear();
                put(gate, 1);
                gate.append(flag->begin(), flag->begin() + 4);
                put(gate, g.want);
                tally = reinterpret_cast<uint32_t *>(counts->data());
            }
        } else {
            put(params, bytes.size());
            params.append(bytes.begin(), bytes.end());
        }
    }
    put(input, count);
    input += tensors + params + gate;
    const std::string in = scratch("in"), out = scratch("out"), err = scratch("err");
    std::ofstream(in, std::ios::binary) << input;
    if (execute(launch.function->program, in, out, err) != 0) return fault(name + ": " + contents(err));
    const std::string output = contents(out);
    size_t at = 0;
    for (auto *tensor : written) {
        memcpy(tensor->data(), output.data() + at, tensor->size());
        at += tensor->size();
    }
    if (tally != nullptr) {
        uint32_t counts[2];
        memcpy(counts, output.data() + at, 8);
        tally[0] += counts[0];
        tally[1] += counts[1];
    }
    return SUCCESS;
}

// ---- the stream

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
    return broken;
}

/// Copies the arguments out of the caller's memory, as the driver does.
Launch prepare(const Function *f, const unsigned (&grid)[3], unsigned threads, unsigned shared, void **arguments) {
    Launch launch = {f, {grid[0], grid[1], grid[2]}, threads, shared, {}};
    for (size_t i = 0; i < f->signature.size(); i++) {
        const std::string &kind = f->signature[i];
        const size_t size = kind == "w" || kind == "r" ? 8 : kind == "g" ? sizeof(Gate) : std::stoul(kind);
        const auto *from = static_cast<const uint8_t *>(arguments[i]);
        launch.arguments.emplace_back(from, from + size);
    }
    return launch;
}

struct Graph {
    std::vector<Launch> nodes;
};

/// CUDA_KERNEL_NODE_PARAMS of CUDA 12.
struct NodeParams {
    Function *function;
    unsigned grid[3], block[3], shared;
    void **arguments, **extra, *kernel, *context;
};

Launch prepare(const NodeParams *p) {
    return prepare(p->function, p->grid, p->block[0], p->shared, p->arguments);
}

struct Event {
    double seconds = -1;
};

double now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

bool entered = false;

// ---- the compiler

struct Program {
    std::string text, file, log, cubin;
    std::vector<std::pair<std::string, std::string>> headers;
};

/// The name of the kernel: the first word before a parenthesis that is no attribute.
std::string entry_of(const std::string &text) {
    size_t at = text.find("__global__");
    while (at != std::string::npos) {
        const size_t open = text.find('(', at);
        if (open == std::string::npos) break;
        const size_t end = text.find_last_not_of(" \n", open - 1) + 1;
        const size_t start = text.find_last_of(" \n", end - 1) + 1;
        const std::string word = text.substr(start, end - start);
        if (word.substr(0, 2) != "__") return word;
        at = text.find(')', open);
    }
    return "";
}

} // namespace

#define API extern "C" __attribute__((visibility("default")))
// NOLINTBEGIN: the names are NVIDIA's.

API int cuInit(unsigned) {
    return SUCCESS;
}
API int cuDriverGetVersion(int *version) {
    *version = 12080;
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
    const int capability = std::stoi(setting("EMULATOR_CAPABILITY", "90"));
    switch (which) {
    case 75: *value = capability / 10; return SUCCESS;
    case 76: *value = capability % 10; return SUCCESS;
    case 97: *value = 227 << 10; return SUCCESS; // shared memory of a block
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
        return SUCCESS;
    });
}
API int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t bytes, void *) {
    auto *buffer = find(to);
    if (buffer == nullptr || bytes > buffer->size()) return INVALID_VALUE;
    const auto *start = static_cast<const uint8_t *>(from);
    return enqueue([buffer, copy = std::vector<uint8_t>(start, start + bytes)] {
        memcpy(buffer->data(), copy.data(), copy.size());
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

API int cuModuleLoadData(void **module, const char *image) {
    if (strncmp(image, "\x7f" "ELF of the emulator: ", 22) != 0) return INVALID_IMAGE;
    *module = new std::string(image + 22);
    return broken;
}
API int cuModuleGetFunction(Function **function, const std::string *program, const char *name) {
    const std::string in = "/dev/null", out = scratch("signature"), err = scratch("err");
    if (execute(*program, in, out, err, "signature") != 0) return NOT_FOUND;
    std::istringstream words(contents(out));
    *function = new Function{name, *program, {}};
    for (std::string word; words >> word;) (*function)->signature.push_back(word);
    return SUCCESS;
}
API int cuFuncSetAttribute(Function *, int, int) {
    return SUCCESS;
}
API int cuLaunchKernel(const Function *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                       unsigned shared, void *, void **arguments, void **) {
    note('L');
    if (by != 1 || bz != 1 || bx == 0 || gx * gy * gz == 0) return INVALID_VALUE;
    return enqueue([launch = prepare(f, {gx, gy, gz}, bx, shared, arguments)] { return run(launch); });
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

API int cuGraphCreate(Graph **graph, unsigned) {
    *graph = new Graph;
    return SUCCESS;
}
API int cuGraphAddKernelNode_v2(size_t *node, Graph *graph, const size_t *after, size_t count, const NodeParams *p) {
    // Each node after the one before: that is all the executor makes.
    const bool chained = graph->nodes.empty() ? count == 0 : count == 1 && *after == graph->nodes.size();
    if (!chained) return INVALID_VALUE;
    graph->nodes.push_back(prepare(p));
    *node = graph->nodes.size();
    return SUCCESS;
}
API int cuGraphInstantiateWithFlags(Graph **executable, const Graph *graph, uint64_t) {
    *executable = new Graph(*graph);
    return SUCCESS;
}
API int cuGraphExecKernelNodeSetParams_v2(Graph *graph, size_t node, const NodeParams *p) {
    if (node == 0 || node > graph->nodes.size()) return INVALID_VALUE;
    graph->nodes[node - 1] = prepare(p);
    return SUCCESS;
}
API int cuGraphLaunch(const Graph *graph, void *) {
    note('G');
    // As it is now: later changes are for later launches.
    return enqueue([copy = *graph] {
        for (const Launch &launch : copy.nodes) {
            if (run(launch) != SUCCESS) break;
        }
        return broken;
    });
}
API int cuGraphExecDestroy(const Graph *graph) {
    delete graph;
    return SUCCESS;
}
API int cuGraphDestroy(const Graph *graph) {
    delete graph;
    return SUCCESS;
}

API int cuGetErrorName(int status, const char **name) {
    switch (status) {
    case OUT_OF_MEMORY: *name = "CUDA_ERROR_OUT_OF_MEMORY"; break;
    case ILLEGAL_ADDRESS: *name = "CUDA_ERROR_ILLEGAL_ADDRESS"; break;
    default: *name = "CUDA_ERROR"; break;
    }
    return SUCCESS;
}
API int cuGetErrorString(int status, const char **text) {
    switch (status) {
    case OUT_OF_MEMORY: *text = "out of memory"; break;
    case ILLEGAL_ADDRESS: *text = "an illegal memory access was encountered"; break;
    default: *text = "the emulator refuses this"; break;
    }
    return SUCCESS;
}

API int nvrtcVersion(int *major, int *minor) {
    *major = 12;
    *minor = 0;
    return SUCCESS;
}
API int nvrtcCreateProgram(Program **program, const char *text, const char *file, int count, const char *const *texts,
                           const char *const *names) {
    *program = new Program{text, file, "", "", {}};
    for (int i = 0; i < count; i++) (*program)->headers.push_back({names[i], texts[i]});
    return SUCCESS;
}
API int nvrtcCompileProgram(Program *program, int count, const char *const *options) {
    std::string defines, identity = program->text;
    for (int i = 0; i < count; i++) {
        if (strncmp(options[i], "-D", 2) == 0) defines += std::string(" ") + options[i];
    }
    for (const auto &[name, text] : program->headers) identity += text;
    const size_t hash = std::hash<std::string>()(identity + defines);
    const std::string folder = setting("EMULATOR_FOLDER") + "/" + std::to_string(hash);
    const std::string built = folder + "/program", mine = folder + "/" + std::to_string(getpid());
    if (access(built.c_str(), X_OK) != 0) {
        if (system(("mkdir -p '" + folder + "/ladder'").c_str()) != 0) return 6;
        for (const auto &[name, text] : program->headers) std::ofstream(folder + "/" + name) << text;
        std::ofstream(folder + "/" + program->file) << program->text;
        const std::string command =
            setting("EMULATOR_COMPILE") + " -I'" + folder + "' -DKERNEL='\"" + folder + "/" + program->file +
            "\"' -DENTRY=" + entry_of(program->text) + defines + " -o '" + mine + ".o' 2>'" + mine + ".log' && g++ " +
            setting("EMULATOR_PARTS") + " '" + mine + ".o' -o '" + mine + "' 2>>'" + mine + ".log'";
        const int status = system(command.c_str());
        program->log = contents(mine + ".log");
        if (status != 0) return 6; // NVRTC_ERROR_COMPILATION
        // Another process may have built the same.
        if (rename(mine.c_str(), built.c_str()) != 0) return 6;
    }
    program->cubin = "\x7f" "ELF of the emulator: " + built;
    return SUCCESS;
}
API int nvrtcGetProgramLogSize(const Program *program, size_t *bytes) {
    *bytes = program->log.size() + 1;
    return SUCCESS;
}
API int nvrtcGetProgramLog(const Program *program, char *to) {
    memcpy(to, program->log.c_str(), program->log.size() + 1);
    return SUCCESS;
}
API int nvrtcGetCUBINSize(const Program *program, size_t *bytes) {
    *bytes = program->cubin.size();
    return SUCCESS;
}
API int nvrtcGetCUBIN(const Program *program, char *to) {
    memcpy(to, program->cubin.data(), program->cubin.size());
    return SUCCESS;
}
API int nvrtcDestroyProgram(Program **program) {
    delete *program;
    *program = nullptr;
    return SUCCESS;
}
API const char *nvrtcGetErrorString(int) {
    return "the emulator's compiler failed";
}
// NOLINTEND
