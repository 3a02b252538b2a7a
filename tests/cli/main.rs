//! The program as its users run it: the built binary, its files, its words and its exit status.
#![cfg(feature = "cli")]

mod bad_input;
mod bench;
mod calibrate;
mod checkpoint;
#[cfg(unix)]
mod commands;
#[path = "../common/mod.rs"]
mod common;
mod compare;
mod decode;
mod finite;
mod forward;
mod generate;
mod hub;
mod interrupt;
mod kills;
mod memory;
mod plan;
#[path = "../common/random.rs"]
mod random;
mod shell;
#[allow(dead_code)]
#[path = "../teacache/tables.rs"]
mod tables;
mod wgpu;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use steep::cache::{TeaCache, find};

const STEEP: &str = env!("CARGO_BIN_EXE_steep");

/// For the tables.
fn teacache(threshold: f64, set: &str, steps: usize) -> TeaCache {
    TeaCache::new(threshold, find(set).unwrap().coefficients, steps)
}

fn fixture(name: &str) -> String {
    format!("{}/tests/fixtures/{name}.safetensors", env!("CARGO_MANIFEST_DIR"))
}

/// A folder of its own to run the program in.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        Place(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(STEEP);
        command.args(args).current_dir(self.0.path()).stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs what must succeed without a word on standard error; returns standard output.
    fn ok(&self, args: &[&str]) -> String {
        let out = self.run(args);
        assert!(out.status.success() && out.stderr.is_empty(), "{args:?}: {}", text(&out.stderr));
        text(&out.stdout)
    }

    /// [`ok`](Self::ok) of `generate` on the small Latte.
    fn generate(&self, more: &str) -> String {
        let model = fixture("tiny-latte");
        let more = more.split_whitespace();
        self.ok(&["generate", "--model", &model].into_iter().chain(more).collect::<Vec<_>>())
    }

    /// Runs a script of bash.
    fn shell(&self, script: &str) -> Output {
        let mut bash = Command::new("bash");
        bash.args(["-c", script]).current_dir(self.0.path()).stdin(Stdio::null()).output().unwrap()
    }

    fn pipe(&self, input: &str, args: &[&str]) -> Output {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A program that refuses its arguments may be gone before it reads.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// What is said before a run of the memory that it takes, left out.
fn without_plan(said: &str) -> &str {
    match said.strip_prefix("memory ") {
        Some(plan) => plan.split_once('\n').unwrap().1,
        None => said,
    }
}

/// The one line that a failed run says, without `steep: `. On standard output there is its plan at most.
#[track_caller]
fn complaint(out: &Output, status: i32) -> String {
    let said = text(&out.stderr);
    assert_eq!(out.status.code(), Some(status), "{said}");
    assert_eq!(without_plan(&text(&out.stdout)), "");
    let line = said.strip_suffix('\n').and_then(|s| s.strip_prefix("steep: "));
    let line = line.filter(|line| !line.contains('\n')).unwrap_or_else(|| panic!("not one line: {said:?}"));
    line.to_string()
}

/// Shape and values of an f32 tensor in a file.
fn tensor(path: &Path, name: &str) -> (Vec<usize>, Vec<f32>) {
    let bytes = fs::read(path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let view = file.tensor(name).unwrap();
    let value = |x: &[u8]| f32::from_le_bytes(x.try_into().unwrap());
    (view.shape().to_vec(), view.data().chunks_exact(4).map(value).collect())
}
