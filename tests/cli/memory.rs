//! The memory that a run is said to take, and what it takes.
#![cfg(target_os = "linux")]

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use crate::common::checkpoint::{checkpoint, file};
use crate::{Place, fixture, text};

/// 93 million parameters, so that the program itself and what loading takes are little beside them.
const CONFIG: &str = r#"{"frames":2,"height":16,"width":16,"channels":1,"patch":2,"dim":384,"depth":36,"heads":6,"mlp_ratio":4,"classes":10,"temporal":true,"learn_sigma":false,"prediction":"velocity"}"#;

/// The bytes that a line says.
fn planned(said: &str) -> f64 {
    let line = said.lines().find_map(|line| line.strip_prefix("memory ")).unwrap();
    1e6 * line.split_once(" MB: ").unwrap().0.parse::<f64>().unwrap()
}

/// Runs the program; what it said, and the most memory that it was seen to have had.
fn watched(place: &Place, args: &[&str]) -> (String, f64) {
    let mut command = place.command(args);
    let child = command.stdout(Stdio::piped()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let seen = std::thread::spawn(move || {
        let mut peak = 0.0;
        // A process that has ended has no such line.
        while let Some(kibi) = fs::read_to_string(&status).ok().and_then(|text| {
            let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
            line.trim().trim_end_matches(" kB").parse::<f64>().ok()
        }) {
            peak = 1024.0 * kibi;
            std::thread::sleep(Duration::from_millis(2));
        }
        peak
    });
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success());
    (text(&out.stdout), seen.join().unwrap())
}

#[test]
fn a_plan_is_what_a_run_takes() {
    let place = Place::new();
    let (header, data) = checkpoint(CONFIG);
    fs::write(place.path("m.safetensors"), file(header.to_string().as_bytes(), &data)).unwrap();
    drop(data);
    for (dtype, cache) in [("f32", "off"), ("f32", "sea:0.1+taylor"), ("bf16", "tea:0.1:identity")] {
        let run = ["generate", "--model", "m.safetensors", "--device", "cpu", "--steps", "2"];
        let (said, peak) = watched(&place, &[&run[..], &["--dtype", dtype, "--cache", cache]].concat());
        let off = planned(&said) / peak - 1.0;
        // A part of what loading takes is given back before the run; at this size that is some of the hundredths.
        assert!(off.abs() < 0.08, "{dtype} {cache}: {off:.3} off {peak}: {said}");
    }
}

#[test]
fn every_run_says_what_it_takes() {
    let place = Place::new();
    let (latte, inputs) = (fixture("tiny-latte"), fixture("tiny-latte.fixture"));
    let short = ["--model", &latte, "--device", "cpu"];
    for args in [
        "generate --steps 2",
        "compare --steps 2 uniform:2 --seeds 1 --digits none --out a",
        "calibrate --steps 8 --seeds 1 --classes 0 --out fit.json",
        &format!("forward {inputs} --out out.safetensors"),
    ] {
        let said = place.ok(&[&args.split(' ').collect::<Vec<_>>()[..], &short].concat());
        let line = said.lines().next().unwrap();
        for part in ["memory ", " MB: weights ", "activations ", "residuals ", "signal "] {
            assert!(line.contains(part), "{args}: no {part:?} in {line:?}");
        }
    }
    // What is for programs is for them alone.
    let quiet = |args: &str| place.ok(&[&args.split(' ').collect::<Vec<_>>()[..], &short].concat());
    assert_eq!(quiet("generate --steps 2 --quiet"), "");
    for args in [
        "generate --steps 2 --quiet --json -",
        "compare --steps 2 uniform:2 --seeds 1 --digits none --out b --json",
    ] {
        serde_json::from_str::<serde_json::Value>(&quiet(args)).unwrap();
    }
    // A record on standard output has the words for people beside it.
    let args = ["generate", "--steps", "2", "--json", "-"];
    let out = place.run(&[&args[..], &short].concat());
    serde_json::from_slice::<serde_json::Value>(&out.stdout).unwrap();
    assert!(text(&out.stderr).starts_with("memory "), "{}", text(&out.stderr));
}
