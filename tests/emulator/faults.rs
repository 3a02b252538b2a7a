//! The emulator itself: each planted mistake is reported by name at every seed, and the same kernel without
//! it is not.

use half::{bf16, f16};
use steep::cases::normal_numbers;

use crate::harness::{self, Launch};

fn bytes<T, const N: usize>(words: &[T], to: impl Fn(&T) -> [u8; N]) -> Vec<u8> {
    words.iter().flat_map(to).collect()
}

/// In the order of faults.cu: what the report says.
const FAULTS: [(&str, &[&str]); 29] = [
    ("reads past a shared array", &["out of bounds: thread", "reads 4 bytes at shared faults::shared + 256"]),
    (
        "reads past an argument",
        &["out of bounds: thread", "reads 4 bytes at argument 2 + 256, which has 256 bytes"],
    ),
    ("reads far away", &["out of bounds: thread", "reads 4 bytes near no tensor and no shared memory"]),
    ("writes before an argument", &["out of bounds: thread 0 of", "writes 4 bytes at argument 0 + -4"]),
    (
        "reads past dynamic shared memory",
        &["out of bounds: thread", "reads 1 bytes at dynamic shared memory + 32"],
    ),
    ("loads a misaligned vector", &["misaligned: thread", "reads 16 bytes at argument 2 + 4"]),
    ("writes what is read only", &["read only: thread", "writes argument 2"]),
    (
        "reads what nobody wrote",
        &[
            "uninitialised: thread",
            "reads shared faults::shared + 20, which no thread of the block has written",
        ],
    ),
    ("does not end", &["endless loop: thread", "does not end: 1000000 accesses"]),
    ("misses a barrier", &["race: thread", "shared faults::shared + ", "no barrier is between them"]),
    ("misses the second barrier", &["race: thread", "shared faults::shared + "]),
    ("misses a warp barrier", &["race: thread", "shared faults::shared + "]),
    ("shares half a word", &["race: thread", "writes shared faults::shared + ", "wrote"]),
    ("writes what another block writes", &["race: thread", "writes argument 0 + ", "of another block wrote"]),
    ("orders by another named barrier", &["race: thread", "shared faults::shared + "]),
    ("misses a fence", &["race: thread 0 of", "reads argument 0 + ", "of another block wrote"]),
    (
        "returns before a barrier",
        &["deadlock: block", "wait at barrier 0, 64 threads (faults.cu:", "; 32 threads have returned"],
    ),
    (
        "waits for more threads than come",
        &["deadlock: block", "32 threads (0 to 31) wait at barrier 1, 64 threads"],
    ),
    ("disagrees about a barrier", &["bad barrier: thread", "at barrier 1, others want"]),
    ("shuffles with half a warp", &["deadlock: block", "wait at __shfl_xor_sync of warp 0, mask ffffffff"]),
    ("shuffles without itself", &["bad mask: thread", "mask 7fffffff"]),
    ("takes two branches", &["divergence: thread", "__ballot_sync", "__shfl_xor_sync"]),
    ("reads before the copy is done", &["unfinished copy: thread", "reads shared faults::copies"]),
    ("waits for the wrong group", &["race: thread|unfinished copy: thread", "shared faults::copies"]),
    ("waits without a barrier", &["race: thread|unfinished copy: thread", "shared faults::copies"]),
    ("copies over what is read", &["race: thread|unfinished copy: thread", "shared faults::copies"]),
    ("forgets a copy", &["unfinished copy: thread", "returns without having waited for a cp.async"]),
    (
        "copies from a misaligned address",
        &["misaligned: thread", "copies 16 bytes from a misaligned address"],
    ),
    ("copies what is not there", &["out of bounds: thread", "reads 16 bytes at argument 2 + 256"]),
];

#[test]
fn every_fault_is_reported_by_name() {
    if !harness::available() {
        return;
    }
    let program = harness::build("tests/emulator/faults.cu", "faults", &["SHARED_BYTES=32".into()]);
    for (which, (name, report)) in FAULTS.iter().enumerate() {
        let launch = |right: u32| Launch {
            grid: [3, 1, 1],
            threads: 64,
            shared: 32,
            // Blocks write the same place only where that is the point.
            tensors: vec![(vec![7; 3 * 64 * 4], true), (vec![0; 4], true), (vec![0; 64 * 4], false)],
            params: bytes(&[which as u32, right], |word| word.to_le_bytes()),
        };
        let one_block = |launch: Launch| match *name {
            "writes what another block writes" | "misses a fence" => launch,
            _ => Launch { grid: [1, 1, 1], ..launch },
        };
        for seed in 1..=8 {
            let fault = one_block(launch(0)).run(&program, seed).expect_err(name);
            assert!(fault.starts_with("faults.cu:"), "{name}, seed {seed}: no line in {fault}");
            for part in *report {
                let said = part.split('|').any(|either| fault.contains(either));
                assert!(said, "{name}, seed {seed}: wanted `{part}`, got {fault}");
            }
            match one_block(launch(1)).run(&program, seed) {
                Ok(out) if *name == "copies what is not there" => assert_eq!(out[0][..256], [0; 256]),
                Ok(_) => {}
                Err(fault) => panic!("{name}, seed {seed}, without the mistake: {fault}"),
            }
        }
        println!("{name}: {}", one_block(launch(0)).run(&program, 1).unwrap_err().lines().next().unwrap());
    }
}

/// All f16 and bf16 numbers, and f32 numbers of every exponent, halfway cases among them, against the crate
/// `half`.
#[test]
fn number_formats() {
    if !harness::available() {
        return;
    }
    let program = harness::build("tests/emulator/numbers.cu", "numbers", &[]);
    let n = 1 << 16;
    let random = normal_numbers(1, n, 0.0, 1.0);
    let value = |i: usize| match i % 4 {
        0 => f32::from_bits((i as u32) << 16 | (i as u32 * 40503) & 0xffff),
        1 => f32::from_bits((i as u32) << 16 | 0x8000),
        2 => f16::from_bits(i as u16).to_f32() * (1.0 + 0.5f32.powi(11)),
        _ => random[i] * 2f32.powi(i as i32 % 40 - 26),
    };
    let input: Vec<f32> = (0..n).map(value).collect();
    let launch = Launch {
        grid: [n as u32 / 256, 1, 1],
        threads: 256,
        tensors: [true, true, true, false]
            .map(|writable| {
                (if writable { vec![0; 4 * n] } else { bytes(&input, |x| x.to_le_bytes()) }, writable)
            })
            .to_vec(),
        ..Launch::default()
    };
    let out = launch.run(&program, 1).unwrap();
    let floats = |bytes: &[u8]| -> Vec<f32> {
        bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
    };
    let [halves, brains] = [1, 2].map(|i| floats(&out[i]));
    for (i, both) in out[0].chunks_exact(4).enumerate() {
        let (x, both) = (input[i], u32::from_le_bytes(both.try_into().unwrap()));
        let want = (f16::from_f32(x), bf16::from_f32(x));
        let got = (f16::from_bits(both as u16), bf16::from_bits((both >> 16) as u16));
        let same = got == want || (x.is_nan() && got.0.is_nan() && got.1.is_nan());
        assert!(same, "{x:e} ({:08x}): {got:?}, wanted {want:?}", x.to_bits());
        for (got, want) in
            [(halves[i], f16::from_bits(i as u16).to_f32()), (brains[i], bf16::from_bits(i as u16).to_f32())]
        {
            assert!(got == want || (got.is_nan() && want.is_nan()), "{i:04x}: {got}, wanted {want}");
        }
    }
}
