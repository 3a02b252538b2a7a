// Kernels: loaded, and executed each as a program of its own.
#include "driver.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

namespace driver {

namespace {

struct Gate {
    uint64_t flag, tally;
    uint32_t want, padding;
};

/// Bytes of an argument of this kind.
size_t size_of(const std::string &kind) {
    return kind == "w" || kind == "r" ? 8 : kind == "g" ? sizeof(Gate) : std::stoul(kind);
}

void put(std::string &to, uint32_t word) {
    to.append(reinterpret_cast<const char *>(&word), 4);
}

} // namespace

int execute(const std::vector<std::string> &command, const std::string &in, const std::string &out,
            const std::string &err) {
    std::vector<char *> words;
    for (const std::string &word : command) words.push_back(const_cast<char *>(word.c_str()));
    words.push_back(nullptr);
    const pid_t child = fork();
    if (child == 0) {
        const int flags = O_WRONLY | O_CREAT | O_TRUNC;
        dup2(open(in.c_str(), O_RDONLY), 0);
        dup2(open(out.c_str(), flags, 0644), 1);
        dup2(open(err.c_str(), flags, 0644), 2);
        setenv("LC_ALL", "C", 1); // plain quotes in messages
        execvp(words[0], words.data());
        _exit(127);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return status;
}

std::string scratch(const char *name) {
    return setting("EMULATOR_FOLDER") + "/" + std::to_string(getpid()) + "." + name;
}

Status run(const Launch &launch, std::map<uint64_t, uint32_t> *values) {
    const std::string &name = launch.function->name;
    if (setting("EMULATOR_FAULT") == name) return fault("a fault that was asked for");
    static uint32_t launches = 0;
    std::string input;
    put(input, std::stoul(setting("EMULATOR_SEED", "1")) + launches++);
    for (unsigned n : launch.grid) put(input, n);
    for (unsigned n : {launch.threads, 1u, 1u, launch.shared}) put(input, n);
    std::string tensors, params, gate(12, '\0');
    uint32_t count = 0;
    std::vector<std::pair<uint8_t *, size_t>> written;
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
            const size_t extent = extents[at];
            put(tensors, extent);
            tensors.append(tensor->begin(), tensor->begin() + extent);
            if (kind == "w") written.push_back({tensor->data(), extent});
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
    if (execute({launch.function->program}, in, out, err) != 0) return fault(name + ": " + contents(err));
    const std::string output = contents(out);
    size_t at = 0;
    for (const auto &[to, bytes] : written) {
        memcpy(to, output.data() + at, bytes);
        at += bytes;
    }
    if (tally != nullptr) {
        uint32_t counts[2];
        memcpy(counts, output.data() + at, 8);
        at += sizeof counts;
        tally[0] += counts[0];
        tally[1] += counts[1];
    }
    // What is left are conditions: the handle, the value.
    std::map<uint64_t, uint32_t> set;
    for (; at < output.size(); at += 12) {
        uint64_t handle;
        uint32_t value;
        memcpy(&handle, output.data() + at, 8);
        memcpy(&value, output.data() + at + 8, 4);
        if (values == nullptr) return fault(name + ": a condition outside of a graph");
        if (!set.emplace(handle, value).second) return fault(name + ": two threads set a condition");
    }
    for (const auto &[handle, value] : set) (*values)[handle] = value;
    return SUCCESS;
}
Launch prepare(const Function *f, const unsigned (&grid)[3], unsigned threads, unsigned shared, void **arguments) {
    Launch launch = {f, {grid[0], grid[1], grid[2]}, threads, shared, {}};
    for (size_t i = 0; i < f->signature.size(); i++) {
        const size_t size = size_of(f->signature[i]);
        const auto *from = static_cast<const uint8_t *>(arguments[i]);
        launch.arguments.emplace_back(from, from + size);
    }
    return launch;
}
} // namespace driver

using namespace driver;

// NOLINTBEGIN: the names are NVIDIA's.

API int cuModuleLoadData(Image **module, const char *text) {
    if (strncmp(text, MARK.c_str(), MARK.size()) != 0 || setting("EMULATOR_LOADS") == "none") return INVALID_IMAGE;
    std::istringstream words(text + MARK.size());
    std::string kind;
    Image image;
    words >> kind >> image.arch >> image.major;
    std::getline(words >> std::ws, image.program);
    image.ptx = kind == "PTX";
    if (image.major > driver_version() / 1000) return INVALID_IMAGE;
    const bool family = image.ptx || image.arch / 10 == capability() / 10;
    if (!family || image.arch > capability()) return NO_BINARY_FOR_GPU;
    *module = new Image(image);
    return broken;
}
API int cuModuleGetFunction(Function **function, const Image *image, const char *name) {
    const std::string in = "/dev/null", out = scratch("signature"), err = scratch("err");
    if (execute({image->program, "signature"}, in, out, err) != 0) return NOT_FOUND;
    std::istringstream words(contents(out));
    *function = new Function{name, image->program, {}};
    for (std::string word; words >> word;) (*function)->signature.push_back(word);
    return SUCCESS;
}
API int cuFuncGetParamInfo(const Function *f, size_t which, size_t *offset, size_t *size) {
    if (which >= f->signature.size()) return INVALID_VALUE;
    *offset = 0;
    for (size_t i = 0; i <= which; i++) {
        *size = size_of(f->signature[i]);
        if (i < which) *offset += (*size + 7) / 8 * 8;
    }
    return SUCCESS;
}
API int cuFuncSetAttribute(Function *f, int which, int value) {
    const int dynamic_shared = 8;
    if (which != dynamic_shared || value < 0 || static_cast<unsigned>(value) > most_shared()) return INVALID_VALUE;
    f->most_shared = value;
    return SUCCESS;
}
API int cuLaunchKernel(const Function *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                       unsigned shared, void *, void **arguments, void **) {
    note('L');
    if (by != 1 || bz != 1 || bx == 0 || gx * gy * gz == 0) return INVALID_VALUE;
    if (gy > most_blocks() || gz > most_blocks() || shared > f->most_shared) return INVALID_VALUE;
    return enqueue([launch = prepare(f, {gx, gy, gz}, bx, shared, arguments)] { return run(launch); });
}
// NOLINTEND
