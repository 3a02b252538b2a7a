//! `steep try`: kernels of users, right and wrong, through the program as its users run it.
//!
//! Where no adapter is there, or no g++, tests are skipped visibly, unless `STEEP_REQUIRE` names `wgpu` or `emulator`.
#![cfg(all(feature = "cli", feature = "cuda"))]

mod answers;
mod bad_input;
mod counters;
mod ladder;
mod mutants;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use steep::Device;
use steep::lab::Language;
use steep::lab::emulator::Emulator;

/// A folder of its own, with files in it, to try them in.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        Place(tempfile::tempdir().unwrap())
    }

    fn with(name: &str, text: impl AsRef<[u8]>) -> Place {
        let place = Place::new();
        place.write(name, text);
        place
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.0.path().join(name), text).unwrap();
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_steep"));
        command.arg("try").args(arguments.split_whitespace()).current_dir(self.0.path()).stdin(Stdio::null());
        command.env("STEEP_CACHE", cache()).env_remove("STEEP_GRAPH");
        // What NVIDIA's compiler says, tests/nvrtc.rs looks at.
        command.env("STEEP_NVRTC", "/nowhere/libnvrtc.so");
        command
    }

    fn run(&self, arguments: &str) -> Answer {
        Answer::of(arguments, self.command(arguments).output().unwrap())
    }
}

/// What the program said.
struct Answer {
    asked: String,
    status: Option<i32>,
    out: String,
    err: String,
}

impl Answer {
    fn of(asked: &str, out: Output) -> Answer {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Answer {
            asked: asked.into(),
            status: out.status.code(),
            out: text(out.stdout),
            err: text(out.stderr),
        }
    }

    /// The kernel is right.
    #[track_caller]
    fn right(&self) {
        assert_eq!(self.status, Some(0), "{}: {}{}", self.asked, self.out, self.err);
        assert!(self.out.ends_with("\nright\n") && self.err.is_empty(), "{}{}", self.out, self.err);
    }

    /// The kernel is wrong, in words among which are these.
    #[track_caller]
    fn wrong(&self, words: &[&str]) {
        assert_eq!(self.status, Some(1), "{}: {}{}", self.asked, self.out, self.err);
        assert!(self.out.ends_with("\nwrong\n") && self.err.is_empty(), "{}{}", self.out, self.err);
        for word in words {
            assert!(self.out.contains(word), "{}: wanted `{word}`, got {}", self.asked, self.out);
        }
    }

    /// It could not be tried, and one line says why; among it are these words.
    #[track_caller]
    fn refused(&self, words: &[&str]) {
        assert_eq!(self.status, Some(2), "{}: {}{}", self.asked, self.out, self.err);
        let line = self.err.strip_prefix("steep: ").and_then(|err| err.strip_suffix('\n'));
        let line = line.filter(|line| !line.contains('\n')).unwrap_or_else(|| panic!("{}", self.err));
        for word in words {
            assert!(line.contains(word), "{}: wanted `{word}`, got {line}", self.asked);
        }
    }
}

fn cache() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

/// Where files in a language can be run: the device's name for `--device`.
fn device(language: Language) -> Option<&'static str> {
    static FOUND: OnceLock<[Option<&str>; 2]> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let required = std::env::var("STEEP_REQUIRE").unwrap_or_default();
        let there = |name: &'static str, error: Option<steep::Error>| match error {
            None => Some(name),
            Some(e) if required.split(',').any(|r| r.trim() == name) => {
                panic!("STEEP_REQUIRE={required}, but {e}")
            }
            Some(e) => {
                eprintln!("skipped: {e}");
                None
            }
        };
        let adapter = pollster::block_on(Device::open("wgpu")).err();
        [there("wgpu", adapter), there("emulator", Emulator::below(cache()).err())]
    });
    found[usize::from(language == Language::Cuda)]
}

/// A kernel of the tests' own.
fn kernel(name: &str) -> String {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests/lab/kernels", name].iter().collect();
    std::fs::read_to_string(path).unwrap()
}

/// The text with a part replaced that it must have.
#[track_caller]
fn edited(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "no `{from}`");
    text.replacen(from, to, 1)
}
