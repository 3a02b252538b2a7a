//! Builds a kernel with the emulator into a program, and runs it.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// As C++17 for an ordinary processor. The sanitizer's calls go to the emulator's own hooks; floating point
/// does what the source says.
const FLAGS: [&str; 9] = [
    "-std=c++17",
    "-O1",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wno-unknown-pragmas",
    "-Wno-unused-function",
    "-ffp-contract=off",
    "-U_FORTIFY_SOURCE",
];
const WATCHED: [&str; 2] = ["-fsanitize=thread", "--param=tsan-instrument-func-entry-exit=0"];
const PARTS: [&str; 3] = ["machine", "memory", "warp"];
/// Of the library that poses as a GPU's.
const DRIVER: [&str; 4] = ["driver", "launch", "graphs", "nvrtc"];

/// Of the crate.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Whether there is a g++ on a system whose programs the emulator can read. If not, tests are skipped
/// visibly, unless `STEEP_REQUIRE` names `emulator`.
pub fn available() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| {
        let found = cfg!(target_os = "linux") && Command::new("g++").arg("--version").output().is_ok();
        let required = std::env::var("STEEP_REQUIRE").unwrap_or_default();
        if !found && required.split(',').any(|r| r.trim() == "emulator") {
            panic!("STEEP_REQUIRE={required}, but there is no g++ (on Linux): install it");
        }
        if !found {
            eprintln!("skipped: the emulator needs g++ on Linux");
        }
        found
    })
}

/// What tells one build from another: every file that goes into it, and how.
fn key(arguments: &[String]) -> u64 {
    static FILES: OnceLock<u64> = OnceLock::new();
    let files = FILES.get_or_init(|| {
        let mut hasher = DefaultHasher::new();
        for folder in ["kernels", "kernels/ladder", "tests/emulator", "tests/emulator/driver"] {
            let mut paths: Vec<_> =
                root().join(folder).read_dir().unwrap().map(|e| e.unwrap().path()).collect();
            paths.sort();
            for path in paths.iter().filter(|p| p.is_file() && p.extension().is_some_and(|e| e != "rs")) {
                (path, std::fs::read(path).unwrap()).hash(&mut hasher);
            }
        }
        hasher.finish()
    });
    let mut hasher = DefaultHasher::new();
    (files, arguments).hash(&mut hasher);
    hasher.finish()
}

/// Runs g++ unless its output of an earlier run is still there.
fn compile(name: &str, arguments: Vec<String>) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("emulator");
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join(format!("{name}-{:016x}", key(&arguments)));
    if !path.exists() {
        // Under a name of its own first: two tests may build the same thing.
        let unfinished = tempfile::NamedTempFile::new_in(&folder).unwrap().into_temp_path();
        let out = Command::new("g++").args(arguments).arg("-o").arg(&unfinished).output().unwrap();
        assert!(out.status.success(), "{name}: {}", String::from_utf8_lossy(&out.stderr));
        unfinished.persist(&path).unwrap();
    }
    path
}

/// The emulator itself, compiled once.
fn parts() -> &'static [PathBuf] {
    static PARTS_BUILT: OnceLock<Vec<PathBuf>> = OnceLock::new();
    PARTS_BUILT.get_or_init(|| {
        let build = |part: &str| {
            let source = root().join(format!("tests/emulator/{part}.cpp")).display().to_string();
            let flags = FLAGS.map(String::from).into_iter();
            compile(&format!("{part}.o"), flags.chain(["-O2".into(), "-c".into(), source]).collect())
        };
        PARTS.iter().map(|part| build(part)).collect()
    })
}

/// What makes the executor take the emulator for a GPU: a folder with a `libcuda.so` that is also an NVRTC, and
/// the environment that it reads.
pub fn driver() -> (PathBuf, Vec<(&'static str, String)>) {
    let path = |p: &str| root().join(p).display().to_string();
    let flags =
        ["-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-fvisibility=hidden"];
    let sources = DRIVER.map(|part| path(&format!("tests/emulator/driver/{part}.cpp")));
    let built = compile("driver.so", flags.map(String::from).into_iter().chain(sources).collect());
    let folder = PathBuf::from(format!("{}.folder", built.display()));
    let library = folder.join("libcuda.so");
    if !library.exists() {
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::copy(&built, &library).unwrap();
    }
    let flags = FLAGS.iter().chain(&WATCHED).copied().collect::<Vec<_>>().join(" ");
    let include = path("tests/emulator");
    let compile = format!("g++ {flags} -DSTEEP_EMULATOR -I'{include}' -c '{include}/kernel.cpp'");
    let parts: Vec<String> = parts().iter().map(|part| format!("'{}'", part.display())).collect();
    let environment = vec![
        ("LD_LIBRARY_PATH", folder.display().to_string()),
        ("STEEP_NVRTC", library.display().to_string()),
        ("EMULATOR_COMPILE", compile),
        ("EMULATOR_PARTS", parts.join(" ")),
        ("EMULATOR_FOLDER", folder.display().to_string()),
    ];
    (folder, environment)
}

/// A program that executes the kernel `entry` of `file`, a path from the root of the crate.
pub fn build(file: &str, entry: &str, defines: &[String]) -> PathBuf {
    let path = |p: &str| root().join(p).display().to_string();
    let mut name = Path::new(file).file_stem().unwrap().to_str().unwrap().to_string();
    let mut arguments: Vec<String> = FLAGS.iter().chain(&WATCHED).map(|f| f.to_string()).collect();
    arguments.push("-DSTEEP_EMULATOR".into());
    arguments.push(format!("-DKERNEL=\"{}\"", path(file)));
    arguments.push(format!("-DENTRY={entry}"));
    for define in defines {
        arguments.push(format!("-D{define}"));
        name += &format!("-{}", define.split('=').next_back().unwrap());
    }
    arguments.extend(["kernels", "tests/emulator"].map(|folder| format!("-I{}", path(folder))));
    arguments.extend(["-c".into(), path("tests/emulator/kernel.cpp")]);
    let object = compile(&format!("{name}.o"), arguments);
    // Linked without the sanitizer, whose library would answer the calls. The emulator comes first: of
    // templates that both have an instance of, the linker takes the first, and that must not be the watched
    // one.
    let objects = parts().iter().chain([&object]);
    compile(&name, objects.map(|p| p.display().to_string()).collect())
}

/// What a launch hands to a kernel.
#[derive(Clone, Default)]
pub struct Launch {
    pub grid: [u32; 3],
    pub threads: u32,
    /// Bytes of dynamic shared memory.
    pub shared: u32,
    /// Bytes, and whether the kernel may write them.
    pub tensors: Vec<(Vec<u8>, bool)>,
    pub params: Vec<u8>,
}

impl Launch {
    /// Executes the kernel in the order of things that `seed` decides. Returns the written tensors, or the fault.
    pub fn run(&self, program: &Path, seed: u32) -> Result<Vec<Vec<u8>>, String> {
        let mut input = vec![];
        let mut words = |words: &[u32]| input.extend(words.iter().flat_map(|w| w.to_le_bytes()));
        words(&[seed]);
        words(&self.grid);
        words(&[self.threads, 1, 1, self.shared, self.tensors.len() as u32]);
        for (bytes, writable) in &self.tensors {
            input.extend([u32::from(*writable), bytes.len() as u32].iter().flat_map(|w| w.to_le_bytes()));
            input.extend(bytes);
        }
        input.extend((self.params.len() as u32).to_le_bytes());
        input.extend(&self.params);
        // No gate: of three words, none is set.
        input.extend([0; 12]);
        let mut child = Command::new(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A fault may end it before it has read everything; then its message counts, not the broken pipe.
        let _ = child.stdin.take().unwrap().write_all(&input);
        let out = child.wait_with_output().unwrap();
        if !out.status.success() {
            return Err(format!("{}{}", String::from_utf8_lossy(&out.stderr), out.status));
        }
        let mut rest = &out.stdout[..];
        let mut written = vec![];
        let written_bytes =
            self.tensors.iter().filter(|(_, writable)| *writable).map(|(bytes, _)| bytes.len());
        for bytes in written_bytes {
            let (tensor, more) = rest.split_at(bytes);
            written.push(tensor.to_vec());
            rest = more;
        }
        assert!(rest.is_empty());
        Ok(written)
    }
}
