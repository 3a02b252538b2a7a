//! The CUDA kernels, executed: kernels/*.cu, compiled as C++ and run on the CPU by a small emulator, against
//! the oracle.
//!
//! The emulator (its C++ files are next to this one) executes the very files that a GPU runs, and is strict
//! where a GPU is lenient: it checks every access, finds races whatever the order in which threads happen to
//! run, and finishes asynchronous copies as late or as early as is legal. Each case runs with several seeds,
//! which decide on that order, and must give the same bits each time. `cargo test --test emulator --
//! --nocapture` prints every measured error.

#[cfg(feature = "cuda")]
mod conditions;
#[cfg(feature = "cuda")]
mod executor;
mod faults;
mod harness;
mod kernels;
mod matrices;
mod rivals;
mod source;

use half::{bf16, f16};
use steep::DType;
use steep::oracle::{data, nmse, round, wide};

const FLOATS: [DType; 3] = [DType::F32, DType::F16, DType::BF16];
const F32: DType = DType::F32;
/// Means of the data: with the second, an algorithm that subtracts large numbers loses its digits.
const OFFSETS: [f32; 2] = [0.0, 100.0];

/// Input data of an op: what its tensors hold, and the same for the oracle.
struct Data {
    dtype: DType,
    x: Vec<f32>,
    wide: Vec<f64>,
}

impl Data {
    /// These numbers, as `dtype` holds them.
    fn new(dtype: DType, x: &[f32]) -> Data {
        let x = round(dtype, x);
        Data { dtype, wide: wide(&x), x }
    }

    fn bytes(&self) -> Vec<u8> {
        to_bytes(self.dtype, &self.x)
    }
}

/// Normal numbers as `dtype` holds them.
fn normal(seed: u64, dtype: DType, n: usize, offset: f32, scale: f32) -> Data {
    Data::new(dtype, &data(seed, n, offset, scale))
}

fn to_bytes(dtype: DType, x: &[f32]) -> Vec<u8> {
    match dtype {
        DType::F32 => x.iter().flat_map(|x| x.to_le_bytes()).collect(),
        DType::F16 => x.iter().flat_map(|x| f16::from_f32(*x).to_le_bytes()).collect(),
        DType::BF16 => x.iter().flat_map(|x| bf16::from_f32(*x).to_le_bytes()).collect(),
        DType::U32 => unreachable!("floats only"),
    }
}

fn from_bytes(dtype: DType, bytes: &[u8]) -> Vec<f32> {
    let (words, halves) = (bytes.chunks_exact(4), bytes.chunks_exact(2));
    match dtype {
        DType::F32 => words.map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect(),
        DType::F16 => halves.map(|b| f16::from_le_bytes(b.try_into().unwrap()).to_f32()).collect(),
        DType::BF16 => halves.map(|b| bf16::from_le_bytes(b.try_into().unwrap()).to_f32()).collect(),
        DType::U32 => unreachable!("floats only"),
    }
}

/// Bytes of a tensor of NaN.
fn unwritten(dtype: DType, n: usize) -> Vec<u8> {
    vec![0xff; n * if dtype == F32 { 4 } else { 2 }]
}

/// Params of an op: 32-bit words.
macro_rules! params {
    ($($field:expr),* $(,)?) => {
        [$($field.to_le_bytes()),*].concat()
    };
}
use params;

/// A bound on the NMSE of an output that is stored as `dtype`, where `f32` bounds that of the f32 arithmetic
/// before.
///
/// Rounding to f16 moves a number by at most 2^-11 of it, to bf16 by 2^-8.
fn bound(dtype: DType, f32: f64) -> f64 {
    let unit: f64 = match dtype {
        DType::F16 => 1.0 / 2048.0,
        DType::BF16 => 1.0 / 256.0,
        DType::F32 | DType::U32 => 0.0,
    };
    (unit + f32.sqrt()).powi(2)
}

/// Every element is there, and the NMSE is within the bound, not counting errors where the dtype's normal
/// numbers end.
fn close(case: &str, dtype: DType, got: &[u8], want: &[f64], bound: f64) {
    let floor = if dtype == DType::F16 { 0.5f64.powi(25) } else { 1e-35 };
    let (got, mut want) = (from_bytes(dtype, got), want.to_vec());
    for (i, (got, want)) in got.iter().zip(&mut want).enumerate() {
        assert!(!got.is_nan(), "{case}: element {i} is NaN, wanted {want}");
        if (f64::from(*got) - *want).abs() <= floor {
            *want = f64::from(*got);
        }
    }
    let error = nmse(&got, &want);
    println!("{case}: {error:.1e} of {bound:.1e}");
    assert!(error <= bound, "{case}: NMSE {error:.2e}, bound {bound:.2e}");
}

/// |got − want| ≤ bound·|want|.
fn relative(case: &str, got: f64, want: f64, bound: f64) {
    let error = (got - want).abs() / if want == 0.0 { 1.0 } else { want.abs() };
    println!("{case}: {error:.1e} of {bound:.1e}");
    assert!(error <= bound, "{case}: {got}, wanted {want}, relative error {error:.2e}");
}

/// Both columns of f32 [P, 2] added up.
fn totals(partials: &[u8]) -> [f64; 2] {
    let pairs = wide(&from_bytes(F32, partials));
    [0, 1].map(|column| pairs.iter().skip(column).step_by(2).sum())
}
