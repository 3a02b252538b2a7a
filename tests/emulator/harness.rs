//! The emulator for tests, and launches of kernels that belong to no op.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use steep::lab::emulator::Emulator;

/// Of the crate.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn emulator() -> Option<&'static Emulator> {
    static BUILT: OnceLock<Option<Emulator>> = OnceLock::new();
    let build = || match Emulator::below(Path::new(env!("CARGO_TARGET_TMPDIR"))) {
        Ok(emulator) => Some(emulator),
        Err(e) => {
            let required = std::env::var("STEEP_REQUIRE").unwrap_or_default();
            assert!(
                !required.split(',').any(|r| r.trim() == "emulator"),
                "STEEP_REQUIRE={required}, but {e}"
            );
            eprintln!("skipped: {e}");
            None
        }
    };
    BUILT.get_or_init(build).as_ref()
}

/// Whether the emulator can be built. If not, tests are skipped visibly, unless `STEEP_REQUIRE` names `emulator`.
pub fn available() -> bool {
    emulator().is_some()
}

/// What makes the executor take the emulator for a GPU: its folder, and the environment of a process. As strict as a GPU:
/// after a fault, everything fails; and the crate's own kernels compile without a warning.
pub fn driver() -> (PathBuf, Vec<(&'static str, OsString)>) {
    let emulator = emulator().expect("asked for before");
    let mut environment = emulator.environment();
    environment.retain(|(name, _)| !["EMULATOR_FORGIVES", "STEEP_GRAPH"].contains(name));
    for (_, compile) in environment.iter_mut().filter(|(name, _)| *name == "EMULATOR_COMPILE") {
        compile.push("\n-Werror");
    }
    (emulator.folder().to_path_buf(), environment)
}

/// A program that executes the kernel `entry` of `file`, a path from the root of the crate.
pub fn build(file: &str, entry: &str, defines: &[String]) -> PathBuf {
    emulator().expect("asked for before").program(&root().join(file), entry, defines).unwrap()
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
        self.run_with(program, seed, &[])
    }

    /// The same, with more in the environment.
    pub fn run_with(
        &self,
        program: &Path,
        seed: u32,
        environment: &[(&str, &OsStr)],
    ) -> Result<Vec<Vec<u8>>, String> {
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
            .env("EMULATOR_ACCESSES", "1000000")
            .envs(environment.iter().copied())
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
