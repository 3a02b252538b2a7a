//! The exercises, tried as their readers try them: starters compile and fail, solutions pass, and mistakes are caught, in
//! the words of the line `// expect: WORDS` that each of them has (`|` between alternatives), at a line that ends with
//! `// here`.
//!
//! WGSL runs on every adapter, CUDA in the emulator, which is a process's one GPU: the files of an exercise have a process
//! of their own.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use pollster::block_on;
use steep::lab::emulator::Emulator;
use steep::lab::{Candidate, Filter, Kind, Language, Report, trial};
use steep::{DType, Device};

/// Names the exercise, in the environment of a process of its own.
const EXERCISE: &str = "EXERCISE";

/// The exercises, each with the largest case that is worth the time on an adapter and in the emulator; see `Case::work`.
macro_rules! exercises {
    ($($test:ident $folder:literal $adapter:literal $emulator:literal,)*) => {
        $(#[test]
        fn $test() {
            exercise($folder);
        })*
        const EXERCISES: &[(&str, usize, usize)] = &[$(($folder, $adapter, $emulator)),*];
    };
}
exercises! {
    axpby "01-axpby" 20_000 2_000,
    label_embed "02-label_embed" 20_000 500,
    norm_ratio "03-norm_ratio" 20_000 700,
    rel_l1 "04-rel_l1" 2_500_000 700,
    modulate "05-modulate" 20_000 700,
    modulate_rel_l1 "06-modulate_rel_l1" 20_000 700,
    tea_gate "07-tea_gate" 3_000 3_000,
    linear_naive "08-linear-naive" 200_000 10_000,
    linear_tile "09-linear-tile" 200_000 10_000,
    linear_registers "10-linear-registers" 200_000 60_000,
    attention "11-attention" 150_000 30_000,
    linear_tensor_cores "12-linear-tensor-cores" 200_000 300_000,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("exercises")
}

/// Files of an exercise in a language, in the order of their names: starter, solution, mistakes.
fn files(folder: &str, language: Language) -> Vec<PathBuf> {
    let at = root().join(folder);
    let file = |stem: &str| at.join(stem).with_extension(language.extension());
    let mut mistakes: Vec<PathBuf> =
        fs::read_dir(at.join("mistakes")).unwrap().map(|entry| entry.unwrap().path()).collect();
    mistakes.retain(|path| path.extension().is_some_and(|ending| ending == language.extension()));
    mistakes.sort();
    [file("starter"), file("solution")].into_iter().chain(mistakes).collect()
}

fn exercise(folder: &str) {
    for device in common::devices().iter().filter(|device| matches!(device, Device::Wgpu(_))) {
        let largest = EXERCISES.iter().find(|(name, ..)| *name == folder).unwrap().1;
        files(folder, Language::Wgsl).iter().for_each(|path| check(device, path, largest));
    }
    let emulator = match Emulator::below(Path::new(env!("CARGO_TARGET_TMPDIR"))) {
        Ok(emulator) => emulator,
        Err(e) => {
            let required = std::env::var("STEEP_REQUIRE").unwrap_or_default();
            assert!(
                !required.split(',').any(|r| r.trim() == "emulator"),
                "STEEP_REQUIRE={required}, but {e}"
            );
            eprintln!("skipped: {e}");
            return;
        }
    };
    let out = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "in_the_emulator", "--nocapture"])
        .envs(emulator.environment())
        .env("STEEP_CACHE", emulator.folder().join("cubins"))
        .env(EXERCISE, folder)
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success() && said.contains("1 passed"), "{said}");
    println!("{said}");
}

/// For those above: does nothing by itself.
#[test]
fn in_the_emulator() {
    let Ok(folder) = std::env::var(EXERCISE) else { return };
    let device = block_on(Device::open("cuda")).unwrap();
    assert!(device.is_emulated());
    let largest = EXERCISES.iter().find(|(name, ..)| *name == folder).unwrap().2;
    files(&folder, Language::Cuda).iter().for_each(|path| check(&device, path, largest));
}

fn check(device: &Device, path: &Path, largest: usize) {
    let text = fs::read_to_string(path).unwrap();
    let file = path.file_name().unwrap().to_str().unwrap();
    let candidate = Candidate::parse(file, &text, None).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let name = path.strip_prefix(root()).unwrap().display().to_string();
    let at = format!("{name} on {}", device.name());
    if !device.has(candidate.needs()) {
        println!("skipped: {at}: the device lacks {:?}", candidate.needs());
        return;
    }
    let tried = |dtype: DType, largest: usize| {
        let filter = Filter { dtype: Some(dtype), largest: Some(largest), ..Filter::default() };
        let report = block_on(trial(device, &candidate, &filter, &mut |_| {}));
        report.unwrap_or_else(|e| panic!("{at}: {e}"))
    };
    let expected = text.lines().find_map(|line| line.strip_prefix("// expect: "));
    let Some(words) = expected else {
        assert!(file.starts_with("solution"), "{at}: wanted a line `// expect: WORDS`");
        // Of two 16-bit types one: each is a program of its own.
        let (first, last) = (candidate.dtypes[0], *candidate.dtypes.last().unwrap());
        for dtype in [first, last].into_iter().take(if first == last { 1 } else { 2 }) {
            let report = tried(dtype, largest);
            assert!(report.passed(), "{at}: {:?}", report.findings.first());
            println!("{at}, {dtype}: right in {} cases", report.cases);
        }
        return;
    };
    let dtype = candidate.dtypes[0];
    let starter = file.starts_with("starter");
    // Nothing is done yet, so the smallest case that it takes will do.
    let smallest = || {
        let all = Filter { dtype: Some(dtype), ..Filter::default() }.cases(&candidate, device);
        let tried = all.iter().map(|case| tried(dtype, case.work())).find(|report| report.cases > 0);
        tried.unwrap_or_else(|| panic!("{at}: takes no case"))
    };
    let report = if starter { smallest() } else { tried(dtype, largest) };
    let first =
        report.findings.first().unwrap_or_else(|| panic!("{at}: not caught in {} cases", report.cases));
    println!("{at}: {}", first.what);
    // Nothing is done yet, so nothing can be right.
    assert!(!starter || (first.kind == Kind::Wrong && report.failed == report.cases), "{at}: {first:?}");
    caught(&at, &report, &text, words);
}

/// What is shown of a report, its smallest case, has the words; and a fault is at one of the lines that are marked.
fn caught(at: &str, report: &Report, text: &str, words: &str) {
    let first = &report.findings[0];
    let shown = || report.findings.iter().take_while(|f| f.case == first.case);
    let said = words.split('|').any(|words| shown().any(|finding| finding.what.contains(words)));
    assert!(said, "{at}: wanted `{words}`, got {:?}", shown().collect::<Vec<_>>());
    let lines: Vec<usize> =
        text.lines().zip(1..).filter(|(line, _)| line.ends_with("// here")).map(|(_, n)| n).collect();
    assert_eq!(first.kind == Kind::Fault, !lines.is_empty(), "{at}: {first:?}, marked lines {lines:?}");
    let place = first.place.as_ref().filter(|place| place.file == report.file && lines.contains(&place.line));
    assert!(lines.is_empty() || place.is_some(), "{at}: wanted one of the lines {lines:?}, got {first:?}");
}

/// Each has a page with hints that unfold, both languages, and two mistakes, and the list names it.
#[test]
fn every_folder_is_whole() {
    let mut folders: Vec<String> = fs::read_dir(root())
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    folders.sort();
    assert_eq!(folders, EXERCISES.iter().map(|(folder, ..)| *folder).collect::<Vec<_>>());
    let list = fs::read_to_string(root().join("README.md")).unwrap();
    for folder in &folders {
        assert!(list.contains(&format!("]({folder}/README.md)")), "the list lacks {folder}");
        let page = fs::read_to_string(root().join(folder).join("README.md")).unwrap();
        let has = |what: &str, n: usize| assert_eq!(page.matches(what).count(), n, "{folder}: {what}");
        has("<details>", 3);
        has("</details>", 3);
        has("## What to look at", 1);
        has("## What to measure", 1);
        let measure = page.split("## What to measure").nth(1).unwrap();
        assert!(measure.contains("--bench"), "{folder}: what to measure is one's own kernel");
        let mistakes = files(folder, Language::Cuda).len() + files(folder, Language::Wgsl).len() - 4;
        assert!(mistakes >= 2, "{folder}: {mistakes} mistakes");
    }
}
