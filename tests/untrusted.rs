//! A checkpoint may come from anywhere: whatever its bytes are, opening it ends in a model or in an error.
//!
//! Thousands of damaged files, made from a small good one by a seeded generator. None may panic, and none may make the
//! crate ask for much more memory than the file's own size.

mod common;
#[path = "common/random.rs"]
mod random;

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use common::checkpoint::{checkpoint, file};
use random::Random;
use steep::model::{Checkpoint, Dit};
use steep::{DType, Device, Result};

/// The system's allocator, which keeps account.
struct Counted;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        PEAK.fetch_max(NOW.fetch_add(layout.size(), Relaxed) + layout.size(), Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counted = Counted;

/// Files of 20 kB: beyond this, somebody believed a header.
const MOST: usize = 8 << 20;

const CONFIG: &str = r#"{"frames":2,"height":4,"width":6,"channels":1,"patch":2,"dim":8,"depth":2,"heads":2,"mlp_ratio":2,"classes":3,"temporal":true,"learn_sigma":false,"prediction":"velocity"}"#;

const NUMBERS: [&str; 14] = [
    "0",
    "1",
    "3",
    "7",
    "64",
    "1024",
    "65536",
    "65537",
    "4294967296",
    "9223372036854775807",
    "18446744073709551615",
    "18446744073709551616",
    "-1",
    "1e30",
];
const WORDS: [&str; 12] =
    ["null", "true", "[]", "{}", "\\\"x\\\"", "F16", "BF16", "F64", "I64", "U8", "F8_E4M3", "\\u0000"];

/// Puts something else in place of a number of the header: a shape, an offset, a dimension of the configuration.
fn other_number(random: &mut Random, header: &mut String) {
    let starts = header.char_indices().filter(|(i, c)| {
        c.is_ascii_digit() && !header[..*i].ends_with(|before: char| before.is_ascii_digit())
    });
    let starts: Vec<usize> = starts.map(|(i, _)| i).collect();
    if starts.is_empty() {
        return;
    }
    let start = starts[random.below(starts.len())];
    let length = header[start..].chars().take_while(char::is_ascii_digit).count();
    let by = if random.below(5) == 0 { random.one_of(&WORDS) } else { random.one_of(&NUMBERS) };
    header.replace_range(start..start + length, by);
}

/// Another dtype, a tensor's name or a key spoilt, a piece of header twice or gone.
fn other_text(random: &mut Random, header: &mut String) {
    match random.below(4) {
        0 => {
            let which: Vec<usize> = header.match_indices("F32").map(|(i, _)| i).collect();
            if let Some(&at) = which.get(random.below(which.len())) {
                header.replace_range(at..at + 3, random.one_of(&WORDS));
            }
        }
        1 => {
            let word = random.one_of(&["blocks.1", "weight", "shape", "dtype", "config", "dim", "temporal"]);
            *header =
                header.replacen(word, random.one_of(&["blocks.0", "bias", "", "depth", "é", "\\ud800"]), 1);
        }
        kind => {
            // ASCII unless an "é" came in above.
            let (mut from, mut to) = (random.below(header.len()), random.below(header.len()));
            (from, to) = (from.min(to), from.max(to).min(from.min(to) + 40));
            if let Some(piece) = header.get(from..to).map(str::to_string) {
                if kind == 2 { header.insert_str(from, &piece) } else { header.replace_range(from..to, "") }
            }
        }
    }
}

fn mutated(random: &mut Random, header: &str, data: &[u8]) -> Vec<u8> {
    let mut header = header.to_string();
    for _ in 0..=random.below(3) {
        match random.below(5) {
            0 | 1 => other_number(random, &mut header),
            2 => other_text(random, &mut header),
            3 => return flipped(random, file(header.as_bytes(), data)),
            _ => {
                let mut bytes = file(header.as_bytes(), data);
                bytes.truncate(random.below(bytes.len() + 1));
                return bytes;
            }
        }
    }
    let mut bytes = file(header.as_bytes(), data);
    if random.below(8) == 0 {
        bytes.extend(vec![0; random.below(64)]);
    }
    bytes
}

/// Some bytes changed, most of them in the header; which also makes invalid UTF-8 and lengths that lie.
fn flipped(random: &mut Random, mut bytes: Vec<u8>) -> Vec<u8> {
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    for _ in 0..=random.below(4) {
        let range = [8, header, header, bytes.len()][random.below(4)];
        let at = random.below(range);
        bytes[at] = match random.below(3) {
            0 => bytes[at] ^ 1 << random.below(8),
            1 => 0xff,
            _ => random.bits() as u8,
        };
    }
    bytes
}

/// Opens a file and loads what it holds; with the peak of the memory this took.
fn open(path: &Path, bytes: &[u8]) -> (Result<()>, usize) {
    fs::write(path, bytes).unwrap();
    let before = NOW.load(Relaxed);
    PEAK.store(before, Relaxed);
    let opened = Checkpoint::open(path).and_then(|c| Dit::load(&Device::cpu(), &c, DType::F32).map(drop));
    (opened, PEAK.load(Relaxed) - before)
}

// One test: the account is of the whole process.
#[test]
fn no_file_panics_or_asks_for_absurd_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let (header, data) = checkpoint(CONFIG);
    let header = header.to_string();
    let (opened, _) = open(&path, &file(header.as_bytes(), &data));
    opened.unwrap();

    // Beside the weights themselves, loading takes no more than three times the largest tensor.
    let large = CONFIG.replace("\"dim\":8", "\"dim\":512").replace("\"mlp_ratio\":2", "\"mlp_ratio\":4");
    let (large, weights) = checkpoint(&large);
    let (opened, peak) = open(&path, &file(large.to_string().as_bytes(), &weights));
    opened.unwrap();
    let largest = 4 * 6 * 512 * 512;
    assert!(peak < weights.len() + 3 * largest, "{peak} bytes for weights of {}", weights.len());

    // Each dimension of the configuration beyond the file.
    for key in
        ["frames", "height", "width", "channels", "patch", "dim", "depth", "heads", "mlp_ratio", "classes"]
    {
        for number in NUMBERS {
            let at = header.find(&format!("{key}\\\":")).unwrap() + key.len() + 3;
            let length = header[at..].chars().take_while(char::is_ascii_digit).count();
            if header[at..at + length] == *number || (key, number) == ("heads", "1") {
                continue;
            }
            let edited = [&header[..at], number, &header[at + length..]].concat();
            let (opened, peak) = open(&path, &file(edited.as_bytes(), &data));
            assert!(opened.is_err(), "{key} {number}");
            assert!(peak < MOST, "{key} {number}: {peak} bytes");
        }
    }

    let mut random = Random(1);
    let (mut errors, rounds) = (0, 5_000);
    for round in 0..rounds {
        let bytes = mutated(&mut random, &header, &data);
        let (opened, peak) = open(&path, &bytes);
        assert!(peak < MOST, "round {round}: {peak} bytes for a file of {}: {opened:?}", bytes.len());
        errors += usize::from(opened.is_err());
    }
    // Some damage is none, as another weight; most is.
    println!("{errors} of {rounds} refused");
    assert!(errors > rounds / 2 && errors < rounds, "{errors}");
}
