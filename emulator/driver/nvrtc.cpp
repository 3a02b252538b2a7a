// The compiler: g++, as NVRTC.
#include "driver.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>

using namespace driver;

namespace {

struct Program {
    std::string text, file, log, code;
    std::vector<std::pair<std::string, std::string>> headers;
};

/// As it stands between quotes.
std::string escaped(const std::string &text) {
    std::string all;
    for (const char c : text) {
        if (c == '"' || c == '\\') all += '\\';
        all += c;
    }
    return all;
}

/// The text with spaces for comments.
std::string without_comments(std::string text) {
    for (size_t at = 0; (at = text.find('/', at)) != std::string::npos; at++) {
        const bool line = text.compare(at, 2, "//") == 0, block = text.compare(at, 2, "/*") == 0;
        if (!line && !block) continue;
        const size_t end = line ? text.find('\n', at) : text.find("*/", at + 2);
        const size_t past = end == std::string::npos ? text.size() : line ? end : end + 2;
        text.replace(at, past - at, past - at, ' ');
    }
    return text;
}

/// The name of the kernel: the first word before a parenthesis that is no attribute.
std::string entry_of(const std::string &file) {
    const std::string text = without_comments(file);
    size_t at = text.find("__global__");
    while (at != std::string::npos) {
        const size_t open = text.find('(', at);
        if (open == std::string::npos) break;
        const size_t end = text.find_last_not_of(" \n\t\r", open - 1) + 1;
        const size_t start = text.find_last_of(" \n\t\r", end - 1) + 1;
        const std::string word = text.substr(start, end - start);
        if (word.substr(0, 2) != "__") return word;
        at = text.find(')', open);
    }
    return "";
}

/// What it makes machine code for.
std::vector<int> archs() {
    std::istringstream words(setting("EMULATOR_ARCHS", "75 80 86 89 90 100 120"));
    return {std::istream_iterator<int>(words), {}};
}

} // namespace

// NOLINTBEGIN: the names are NVIDIA's.

API int nvrtcVersion(int *major, int *minor) {
    const std::string version = setting("EMULATOR_NVRTC", "12.0");
    *major = std::stoi(version);
    *minor = std::stoi(version.substr(version.find('.') + 1));
    return SUCCESS;
}
API int nvrtcGetNumSupportedArchs(int *count) {
    *count = static_cast<int>(archs().size());
    return SUCCESS;
}
API int nvrtcGetSupportedArchs(int *to) {
    for (const int arch : archs()) *to++ = arch;
    return SUCCESS;
}
API int nvrtcCreateProgram(Program **program, const char *text, const char *file, int count, const char *const *texts,
                           const char *const *names) {
    *program = new Program{text, file, "", "", {}};
    for (int i = 0; i < count; i++) (*program)->headers.push_back({names[i], texts[i]});
    return SUCCESS;
}
API int nvrtcCompileProgram(Program *program, int count, const char *const *options) {
    std::vector<std::string> defines;
    std::string identity = program->file + "\n" + program->text;
    Image image = {};
    const std::string architecture = "--gpu-architecture=", machine = "sm_", virtual_one = "compute_";
    for (int i = 0; i < count; i++) {
        const std::string option = options[i];
        if (option.substr(0, 2) == "-D") defines.push_back(option);
        if (option.substr(0, architecture.size()) != architecture) continue;
        const std::string arch = option.substr(architecture.size());
        image.ptx = arch.substr(0, virtual_one.size()) == virtual_one;
        image.arch = std::stoi(arch.substr((image.ptx ? virtual_one : machine).size()));
    }
    const auto known = archs();
    if (std::find(known.begin(), known.end(), image.arch) == known.end()) {
        program->log = "nvrtc: error: invalid value for --gpu-architecture (-arch)";
        return 5; // NVRTC_ERROR_INVALID_OPTION
    }
    for (const std::string &define : defines) identity += " " + define;
    for (const auto &[name, text] : program->headers) identity += text;
    const size_t hash = std::hash<std::string>()(identity);
    const std::string folder = setting("EMULATOR_FOLDER") + "/" + std::to_string(hash);
    const std::string built = folder + "/program", mine = folder + "/" + std::to_string(getpid());
    if (access(built.c_str(), X_OK) != 0) {
        mkdir(folder.c_str(), 0755);
        mkdir((folder + "/ladder").c_str(), 0755);
        for (const auto &[name, text] : program->headers) std::ofstream(folder + "/" + name) << text;
        // Messages and line tables name the file as its author does.
        std::ofstream(folder + "/kernel.cu") << "#line 1 \"" << escaped(program->file) << "\"\n" << program->text;
        const std::string object = mine + ".o", log = mine + ".log";
        std::vector<std::string> compile = lines("EMULATOR_COMPILE"), link = {compile.front()};
        for (const std::string &word : {"-I" + folder, "-DKERNEL=\"" + folder + "/kernel.cu\"",
                                        "-DENTRY=" + entry_of(program->text)}) {
            compile.push_back(word);
        }
        compile.insert(compile.end(), defines.begin(), defines.end());
        // For those who count what it does: what it was compiled with.
        std::string all;
        for (const std::string &define : defines) all += (all.empty() ? "" : " ") + define.substr(2);
        compile.push_back("-DSTEEP_DEFINES=\"" + all + "\"");
        for (const std::string &word : {std::string("-o"), object}) compile.push_back(word);
        for (const std::string &word : lines("EMULATOR_PARTS")) link.push_back(word);
        for (const std::string &word : {object, std::string("-o"), mine}) link.push_back(word);
        bool failed = execute(compile, "/dev/null", "/dev/null", log) != 0;
        program->log = contents(log);
        if (!failed) {
            failed = execute(link, "/dev/null", "/dev/null", log) != 0;
            program->log += contents(log);
        }
        unlink(object.c_str());
        unlink(log.c_str());
        if (failed) return 6; // NVRTC_ERROR_COMPILATION
        // Another process may have built the same.
        if (rename(mine.c_str(), built.c_str()) != 0) return 6;
    }
    nvrtcVersion(&image.major, &count);
    program->code = MARK + (image.ptx ? "PTX " : "ELF ") + std::to_string(image.arch) + " " +
                    std::to_string(image.major) + " " + built;
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
    *bytes = program->code.size();
    return SUCCESS;
}
API int nvrtcGetCUBIN(const Program *program, char *to) {
    memcpy(to, program->code.data(), program->code.size());
    return SUCCESS;
}
API int nvrtcGetPTXSize(const Program *program, size_t *bytes) {
    return nvrtcGetCUBINSize(program, bytes);
}
API int nvrtcGetPTX(const Program *program, char *to) {
    return nvrtcGetCUBIN(program, to);
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
