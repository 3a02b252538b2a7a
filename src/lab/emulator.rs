//! The emulator in `emulator/`, built: an NVIDIA GPU whose every access is checked, for machines that have none.
//!
//! Its C++ is part of the crate. [`Emulator::open`] compiles it once with the machine's g++ and keeps it; a process that is
//! started with its [environment](Emulator::environment) finds it where it would find NVIDIA's driver and compiler, and
//! opens it as `cuda`.

use std::collections::hash_map::DefaultHasher;
use std::ffi::OsString;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::device::cuda::nvrtc::HEADERS;
use crate::input::kept_folder;
use crate::{Error, Result};

macro_rules! files {
    ($($name:literal),*) => {
        /// Below `emulator/`.
        const FILES: &[(&str, &str)] = &[$(
            ($name, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/emulator/", $name)))
        ),*];
    };
}
files!(
    "machine.h",
    "machine.cpp",
    "memory.h",
    "memory.cpp",
    "warp.cpp",
    "counters.h",
    "counters.cpp",
    "trace.cpp",
    "device.h",
    "ptx.h",
    "kernel.cpp",
    "driver/driver.h",
    "driver/driver.cpp",
    "driver/launch.cpp",
    "driver/graphs.cpp",
    "driver/nvrtc.cpp"
);

/// As C++17 for an ordinary processor; floating point does what the source says. Line tables name the lines of the kernel; those
/// of DWARF 5 by GCC 12 name the wrong file.
const FLAGS: [&str; 9] = [
    "-std=c++17",
    "-O1",
    "-g1",
    "-gdwarf-4",
    "-Wall",
    "-Wextra",
    "-Wno-unknown-pragmas",
    "-Wno-unused-function",
    "-ffp-contract=off",
];
/// Calls of the sanitizer go to the emulator's own hooks.
const WATCHED: [&str; 3] =
    ["-U_FORTIFY_SOURCE", "-fsanitize=thread", "--param=tsan-instrument-func-entry-exit=0"];
const PARTS: [&str; 5] = ["machine", "memory", "warp", "counters", "trace"];
/// Of the library that poses as a GPU's.
const DRIVER: [&str; 4] = ["driver", "launch", "graphs", "nvrtc"];

/// The emulator, built.
pub struct Emulator {
    folder: PathBuf,
}

impl Emulator {
    /// Builds it in the folder for such things (`STEEP_CACHE`, or the user's), if it is not there.
    ///
    /// # Errors
    ///
    /// If the machine has no g++ or does not run Linux, or the folder cannot be written.
    pub fn open() -> Result<Emulator> {
        let folder = kept_folder().ok_or_else(|| {
            Error::device("emulator", "nowhere to keep what is built: wanted a folder in STEEP_CACHE")
        })?;
        Emulator::below(&folder)
    }

    /// The same, below a folder of the caller's.
    ///
    /// # Errors
    ///
    /// As of [`open`](Self::open).
    pub fn below(folder: &Path) -> Result<Emulator> {
        let compiler = compiler()?;
        let mut hasher = DefaultHasher::new();
        (FILES, HEADERS, FLAGS, WATCHED, compiler).hash(&mut hasher);
        let folder = folder.join(format!("emulator-{:016x}", hasher.finish()));
        let emulator = Emulator { folder };
        if !emulator.library().exists() {
            emulator.build()?;
        }
        Ok(emulator)
    }

    /// Where it is, and keeps what it compiles.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where a process of this program may write what it reads again: a file of its own.
    pub fn scratch(&self, name: &str) -> PathBuf {
        self.folder.join("programs").join(format!("{}.{name}", std::process::id()))
    }

    /// What a process is started with, to find it as a GPU. A fault ends only the case that it happens in.
    pub fn environment(&self) -> Vec<(&'static str, OsString)> {
        let mut compile: Vec<OsString> = vec!["g++".into()];
        compile.extend(FLAGS.iter().chain(&WATCHED).map(OsString::from));
        compile.push("-DSTEEP_EMULATOR".into());
        compile.push(path("-I", &self.folder));
        compile.push("-c".into());
        compile.push(self.folder.join("kernel.cpp").into());
        let parts: Vec<OsString> = PARTS.iter().map(|part| self.object(part).into()).collect();
        vec![
            ("LD_LIBRARY_PATH", self.folder.clone().into()),
            ("STEEP_NVRTC", self.library().into()),
            ("STEEP_GRAPH", "plain".into()),
            ("EMULATOR_COMPILE", compile.join("\n".as_ref())),
            ("EMULATOR_PARTS", parts.join("\n".as_ref())),
            ("EMULATOR_FOLDER", self.folder.join("programs").into()),
            ("EMULATOR_FORGIVES", "1".into()),
        ]
    }

    /// A program that executes the kernel `entry` of a file: it reads a launch, as `emulator/kernel.cpp` describes it.
    ///
    /// # Errors
    ///
    /// What the compiler says.
    pub fn program(&self, file: &Path, entry: &str, defines: &[String]) -> Result<PathBuf> {
        let text = fs::read_to_string(file).map_err(|e| Error::file(file, e))?;
        let mut hasher = DefaultHasher::new();
        (text, entry, defines).hash(&mut hasher);
        let program = self.folder.join("programs").join(format!("{entry}-{:016x}", hasher.finish()));
        if program.exists() {
            return Ok(program);
        }
        let mut arguments: Vec<OsString> = FLAGS.iter().chain(&WATCHED).map(OsString::from).collect();
        arguments.push("-DSTEEP_EMULATOR".into());
        arguments.push(format!("-DKERNEL=\"{}\"", file.display()).into());
        arguments.push(format!("-DENTRY={entry}").into());
        arguments.extend(defines.iter().map(|define| format!("-D{define}").into()));
        arguments.push(path("-I", &self.folder));
        arguments.push(path("-I", &self.folder.join("kernels")));
        arguments.extend(["-c".into(), self.folder.join("kernel.cpp").into()]);
        let object = unfinished(&program).with_extension("o");
        compile(&object, arguments)?;
        // Linked without the sanitizer, whose library would answer the calls. The emulator comes first: of templates that
        // both have an instance of, the linker takes the first, and that must not be the watched one.
        let objects = PARTS.iter().map(|part| self.object(part)).chain([object.clone()]);
        let linked = compile(&program, objects.map(OsString::from).collect());
        let _ = fs::remove_file(&object);
        linked.map(|()| program)
    }

    fn library(&self) -> PathBuf {
        self.folder.join("libcuda.so")
    }

    fn object(&self, part: &str) -> PathBuf {
        self.folder.join(format!("{part}.o"))
    }

    fn build(&self) -> Result<()> {
        for folder in ["driver", "kernels", "programs"] {
            let folder = self.folder.join(folder);
            fs::create_dir_all(&folder).map_err(|e| Error::file(&folder, e))?;
        }
        let headers = HEADERS.iter().map(|(name, text)| (format!("kernels/{name}"), *text));
        for (name, text) in FILES.iter().map(|(name, text)| (name.to_string(), *text)).chain(headers) {
            write(&self.folder.join(name), text)?;
        }
        for part in PARTS {
            let source = self.folder.join(format!("{part}.cpp")).into();
            let flags = FLAGS.iter().map(OsString::from);
            let all = flags.chain(["-O2".into(), "-c".into(), source]).collect();
            compile(&self.object(part), all)?;
        }
        let sources = DRIVER.map(|part| self.folder.join(format!("driver/{part}.cpp")).into());
        let flags = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-shared", "-fPIC", "-fvisibility=hidden"];
        // Last: where it is, everything is.
        compile(&self.library(), flags.iter().map(OsString::from).chain(sources).collect())
    }
}

/// What the compiler calls itself, if there is one and its programs are such as the emulator can read.
fn compiler() -> Result<String> {
    let missing = |why: &str| {
        let way = "install g++ (Debian and Ubuntu: apt install g++; Fedora: dnf install gcc-c++)";
        Error::device("emulator", format!("{why}: {way}"))
    };
    if !cfg!(target_os = "linux") {
        return Err(Error::device("emulator", "it needs g++ on Linux; in Windows, WSL is one"));
    }
    let said = Command::new("g++").arg("--version").output();
    let said = said.map_err(|e| missing(&format!("no C++ compiler (g++: {e})")))?;
    let line = String::from_utf8_lossy(&said.stdout).lines().next().unwrap_or_default().to_string();
    match said.status.success() {
        true => Ok(line),
        false => Err(missing("g++ --version fails")),
    }
}

fn path(option: &str, folder: &Path) -> OsString {
    let mut all = OsString::from(option);
    all.push(folder);
    all
}

/// Under a name of its own first: two programs, or two threads, may make the same thing, and none may find half of it.
fn unfinished(path: &Path) -> PathBuf {
    static MADE: AtomicUsize = AtomicUsize::new(0);
    let made = MADE.fetch_add(1, Ordering::Relaxed);
    path.with_extension(format!("{}-{made}.tmp", std::process::id()))
}

fn write(path: &Path, text: &str) -> Result<()> {
    let first = unfinished(path);
    fs::write(&first, text).and_then(|()| fs::rename(&first, path)).map_err(|e| Error::file(path, e))
}

fn compile(to: &Path, arguments: Vec<OsString>) -> Result<()> {
    let first = unfinished(to);
    let out = Command::new("g++").args(arguments).arg("-o").arg(&first).output();
    let out = out.map_err(|e| Error::device("emulator", format!("g++: {e}")))?;
    if !out.status.success() {
        let said = String::from_utf8_lossy(&out.stderr);
        let complaint = said.lines().find(|line| line.contains("error")).unwrap_or(&said);
        return Err(Error::device("emulator", format!("g++: {}", complaint.trim())));
    }
    fs::rename(&first, to).map_err(|e| Error::file(to, e))
}
