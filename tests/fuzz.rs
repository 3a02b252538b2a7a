//! The fuzzer's targets, for a short while: over their seeds, and over thousands of mutations of these.
//!
//! `cargo +nightly fuzz run TARGET` goes on for as long as one likes. Checkpoints are damaged by what knows their layout, in
//! `tests/untrusted.rs`; here only their seeds are read.
#![cfg(feature = "cli")]

#[path = "common/random.rs"]
mod random;
#[path = "../fuzz/targets.rs"]
mod targets;

use std::fs;
use std::path::Path;

use random::Random;

/// Pieces that parsers look at.
const PIECES: [&str; 28] = [
    "0",
    "1",
    "-1",
    "18446744073709551616",
    "1e999",
    "0.1",
    ",",
    ":",
    "+",
    "=",
    "@",
    "-",
    ".",
    "\n",
    "\r\n",
    " ",
    "\"",
    "{",
    "}",
    "[",
    "]",
    "null",
    "true",
    "nan",
    "inf",
    "\u{feff}",
    "é",
    "\0",
];

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Some pieces put in, taken out, doubled, or taken from another seed, and some bytes changed.
fn mutated(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(4) {
        let from = random.below(bytes.len() + 1);
        let to = (from + random.below(12)).min(bytes.len());
        match random.below(5) {
            0 => drop(bytes.splice(from..from, random.one_of(&PIECES).bytes())),
            1 => drop(bytes.splice(from..to, random.one_of(&PIECES).bytes())),
            2 => bytes.extend_from_within(from..to),
            3 => {
                let other = &seeds[random.below(seeds.len())];
                let start = random.below(other.len());
                bytes.truncate(from);
                bytes.extend_from_slice(&other[start..]);
            }
            _ if !bytes.is_empty() => {
                let at = random.below(bytes.len());
                bytes[at] ^= 1 << random.below(8);
            }
            _ => {}
        }
    }
    bytes
}

#[test]
fn nothing_that_is_read_ends_in_a_panic() {
    for (name, target) in targets::ALL {
        let seeds = seeds(name);
        assert!(seeds.len() > 1, "{name}");
        seeds.iter().for_each(|seed| target(seed));
        if name == "checkpoint" {
            continue;
        }
        let mut random = Random(1);
        for round in 0..5_000 {
            let bytes = mutated(&mut random, &seeds);
            let run = std::panic::catch_unwind(|| target(&bytes));
            assert!(run.is_ok(), "{name}, round {round}: {:?}", String::from_utf8_lossy(&bytes));
        }
    }
}

/// What the targets check at the end is reached: each has a seed that is taken, and not only refused.
#[test]
fn seeds_are_taken() {
    use steep::model::{Checkpoint, Config};
    let text = |target: &str, i: usize| String::from_utf8(seeds(target).swap_remove(i)).unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/checkpoint/tiny.safetensors");
    let checkpoint = Checkpoint::open(path).unwrap();
    steep::model::Dit::load(&steep::Device::cpu(), &checkpoint, steep::DType::F32).unwrap();
    assert_ne!(
        Config::from_json(&text("config", 0)).unwrap(),
        Config::from_json(&text("config", 1)).unwrap()
    );
    steep::evaluate::calibrate::Calibration::parse(&text("calibration", 1)).unwrap();
    let pairs = text("journal", 0);
    let (_, records) = steep::evaluate::journal::parse(Path::new("pairs.jsonl"), pairs.as_bytes()).unwrap();
    serde_json::from_value::<steep::evaluate::calibrate::Clip>(records[0].clone()).unwrap();
    for (i, steps) in [(1, None), (2, Some(1)), (3, None)] {
        steep::evaluate::distances::parse(&text("distances", i)[1..], steps).unwrap();
    }
    for seed in seeds("spec") {
        String::from_utf8(seed).unwrap().parse::<steep::cache::Spec>().unwrap();
    }
}
