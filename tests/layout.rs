//! The tree keeps its promises: one op, one stem; a source that runs anywhere; nobody waits inside the library.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use steep::device::Need;
use steep::ops::ALL;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_op_has_its_files() {
    for (folder, extension) in [("src/ops", "rs"), ("wgsl", "wgsl"), ("kernels", "cu"), ("src/cases", "rs")] {
        for kernel in ALL {
            let path = root().join(folder).join(kernel.name).with_extension(extension);
            assert!(path.is_file(), "{} is missing", path.display());
        }
    }
}

#[test]
fn every_op_file_is_an_op() {
    // Beside those of the ops, what they share.
    let cases = ["bench", "forward", "measure", "run"];
    for folder in ["src/ops", "src/cases"] {
        for path in files(&root().join(folder)) {
            if path.parent().unwrap().ends_with("ops/shared") {
                continue;
            }
            let stem = path.file_stem().unwrap().to_str().unwrap();
            let shared = stem == "mod" || folder == "src/cases" && cases.contains(&stem);
            let known = shared || ALL.iter().any(|kernel| kernel.name == stem);
            assert!(known, "{} is no op of ops::ALL", path.display());
        }
    }
}

#[test]
fn names_and_labels_are_unique() {
    let mut names = HashSet::new();
    for kernel in ALL {
        assert!(names.insert(kernel.name), "two ops are called {}", kernel.name);
        for language in [kernel.cpu, kernel.wgsl, kernel.cuda] {
            let mut labels = HashSet::new();
            for source in language {
                assert!(labels.insert(source.label), "{} has two sources {}", kernel.name, source.label);
            }
        }
    }
}

#[test]
fn every_op_runs_anywhere() {
    for kernel in ALL {
        for language in [kernel.cpu, kernel.wgsl, kernel.cuda] {
            let anywhere = language.iter().any(|source| source.needs == Need::Nothing);
            assert!(anywhere, "every source of {} needs something", kernel.name);
        }
    }
}

/// Only programs wait: in a browser, nothing can. Doc comments show programs.
#[test]
fn nobody_waits_in_the_library() {
    let (cli, main) = (root().join("src/cli"), root().join("src/main.rs"));
    for path in files(&root().join("src")) {
        if path.starts_with(&cli) || path == main || path.ends_with("tests.rs") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for (i, line) in text.lines().enumerate() {
            let waits = line.contains("block_on") && !line.trim_start().starts_with("//");
            assert!(!waits, "{}:{}: {line}", path.display(), i + 1);
        }
    }
}

/// The `.rs` files of a folder and those below.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found
}
