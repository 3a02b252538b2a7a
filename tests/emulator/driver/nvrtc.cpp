// The compiler: g++, as NVRTC.
#include "driver.h"

#include <unistd.h>

#include <cstdlib>
#include <fstream>

using namespace driver;

namespace {

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

// NOLINTBEGIN: the names are NVIDIA's.

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
