//! The CPU's portable kernels and the tensors, small enough for Miri, Rust's interpreter, which finds undefined
//! behaviour: accesses out of bounds or misaligned, reads of what was never written, writes through shared references,
//! races. CONTRIBUTING.md has the command.
//!
//! It knows no vector instructions, so that the kernels for AVX2 and AVX-512 are not looked at. They are the same source.

use pollster::block_on;
use steep::cases::run::{Ready, Trial, sources};
use steep::cases::{ALL, Case};
use steep::{DType, Device, Tensor};

/// Units of work that the interpreter does in seconds.
const MOST: usize = 1 << 14;

/// The smallest case of an op for each type of its operands, and the smallest one that runs under gates, unless it is
/// large.
fn smallest(cases: Vec<Case>) -> Vec<Case> {
    let gated = cases.iter().enumerate().filter(|(_, case)| case.gated && case.work() <= MOST);
    let gated = gated.min_by_key(|(_, case)| case.work()).map(|(i, _)| i);
    let least = |dtype: DType| {
        let of = cases.iter().enumerate().filter(|(_, case)| case.dtype == dtype);
        of.min_by_key(|(_, case)| case.work()).map(|(i, _)| i)
    };
    let mut wanted: Vec<usize> =
        [DType::F32, DType::F16, DType::BF16].into_iter().filter_map(least).chain(gated).collect();
    wanted.sort_unstable();
    wanted.dedup();
    cases.into_iter().enumerate().filter(|(i, _)| wanted.contains(i)).map(|(_, case)| case).collect()
}

include!("common/per_op.rs");

fn test(name: &str) {
    let op = ALL.iter().find(|op| op.kernel.name == name).expect("a listed op");
    let device = Device::cpu();
    let mut ran = 0;
    for case in smallest(op.tests().collect()) {
        let ready = Ready::new(&case);
        let mut trial = Trial::new(&ready, &device, true).unwrap();
        for label in sources(&device, op.kernel) {
            for found in block_on(trial.check(label)).unwrap().into_iter().flatten() {
                assert!(found.fault.is_none(), "{} ({label}): {}", case.name, found.fault.unwrap());
                ran += 1;
            }
        }
    }
    assert!(ran > 0, "nothing of {name} ran");
}

#[test]
fn tensors_hold_what_is_written() {
    let device = Device::cpu();
    for dtype in [DType::F32, DType::F16, DType::BF16] {
        let values: Vec<f32> = (0..15).map(|i| i as f32 / 4.0).collect();
        let mut t = Tensor::from_f32(&device, dtype, [3, 5], &values).unwrap();
        assert_eq!(block_on(t.read_f32()).unwrap(), values);
        t.write_f32(&[1.5; 15]).unwrap();
        assert_eq!(block_on(t.read_f32()).unwrap(), [1.5; 15]);
        assert!(t.write_f32(&[1.0; 14]).is_err());
        let zeros = Tensor::zeros(&device, dtype, [1, 1, 7]).unwrap();
        assert_eq!(block_on(zeros.read_f32()).unwrap(), [0.0; 7]);
    }
}
