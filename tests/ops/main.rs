//! Every op on every device, with every source it has there, against the naive f64 oracle.
//!
//! Outputs start as NaN with a guard behind them, so an element that is not written or one too many that is shows.
//! `cargo test --test ops -- --nocapture` prints every measured error.

#[path = "../common/mod.rs"]
mod common;
#[path = "../teacache/tables.rs"]
#[allow(dead_code)]
mod tables;

mod attention;
mod axpby;
mod denoise;
mod easy_distance;
mod label_embed;
mod linear;
mod modulate;
mod modulate_rel_l1;
mod norm_ratio;
mod patch_embed;
mod rel_l1;
mod residual_distance;
mod residual_extrapolate;
mod spectral_filter;
mod tea_gate;
mod temporal_embed;
mod time_embed;

use std::fmt::Debug;
use std::mem::ManuallyDrop;

use pollster::block_on;
use steep::cache::{TeaCache, find};
use steep::device::{Counters, Gate, Kernel};
use steep::oracle::{data, nmse, round, wide};
use steep::{DType, Device, Result, Shape, Tensor};

const FLOATS: [DType; 3] = [DType::F32, DType::F16, DType::BF16];
/// Means of the data: with the second, an algorithm that subtracts large numbers loses its digits.
const OFFSETS: [f32; 2] = [0.0, 100.0];

thread_local! {
    // Never dropped: when a thread's variables go, those that wgpu needs to drop a device may be gone already.
    static DEVICES: ManuallyDrop<Vec<Device>> = ManuallyDrop::new(common::devices());
}

/// One source of an op on one device, which runs it until the next one is asked for.
struct On {
    device: Device,
    op: &'static str,
    label: &'static str,
}

/// Every source of `kernel` on every device, one after the other.
fn sources(kernel: &'static Kernel) -> impl Iterator<Item = On> {
    let labels = |d: &Device| d.sources(kernel).map(|s| (d.clone(), s.label)).collect::<Vec<_>>();
    let all: Vec<_> = DEVICES.with(|devices| devices.iter().flat_map(labels).collect());
    assert!(!all.is_empty(), "nothing runs {}", kernel.name);
    all.into_iter().map(|(device, label)| {
        device.prefer(Some(label));
        On { device, op: kernel.name, label }
    })
}

impl On {
    fn tensor(&self, dtype: DType, shape: impl Into<Shape>, x: &[f32]) -> Tensor {
        Tensor::from_f32(&self.device, dtype, shape, x).unwrap()
    }

    fn f32(&self, shape: impl Into<Shape>, x: &[f32]) -> Tensor {
        self.tensor(DType::F32, shape, x)
    }

    fn u32(&self, shape: impl Into<Shape>, x: &[u32]) -> Tensor {
        Tensor::from_u32(&self.device, shape, x).unwrap()
    }

    fn zeros(&self, dtype: DType, shape: impl Into<Shape>) -> Tensor {
        Tensor::zeros(&self.device, dtype, shape).unwrap()
    }

    /// An output: NaN everywhere, guarded.
    fn out(&self, dtype: DType, shape: impl Into<Shape>) -> Tensor {
        Tensor::guarded(&self.device, dtype, shape).unwrap()
    }

    /// A guarded tensor that is read and written.
    fn inout(&self, dtype: DType, shape: impl Into<Shape>, x: &[f32]) -> Tensor {
        let mut t = self.out(dtype, shape);
        t.write_f32(x).unwrap();
        t
    }

    /// What failing messages name.
    fn case(&self, dtype: DType, shape: impl Debug, offset: f32) -> String {
        let (op, device, label) = (self.op, self.device.name(), self.label);
        format!("{op} on {device} ({label}), {dtype} {shape:?}, offset {offset}")
    }
}

/// Input data of an op: what its tensors hold, and the same for the oracle.
struct Data {
    x: Vec<f32>,
    wide: Vec<f64>,
}

/// Normal numbers as `dtype` holds them.
fn normal(seed: u64, dtype: DType, n: usize, offset: f32, scale: f32) -> Data {
    let x = round(dtype, &data(seed, n, offset, scale));
    Data { wide: wide(&x), x }
}

/// A bound on the NMSE of an output that is stored as `dtype`, where `f32` bounds that of the f32 arithmetic before.
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

/// Reads an output, whose guard must be untouched.
fn values(case: &str, t: &Tensor) -> Vec<f32> {
    assert!(!block_on(t.overrun()).unwrap(), "{case}: wrote past the end of {t:?}");
    block_on(t.read_f32()).unwrap()
}

/// Every element is there, and the NMSE is within the bound, not counting errors where the dtype's normal numbers end.
fn close(case: &str, name: &str, got: &Tensor, want: &[f64], bound: f64) {
    let floor = if got.dtype() == DType::F16 { 0.5f64.powi(25) } else { 1e-35 };
    let (got, mut want) = (values(case, got), want.to_vec());
    for (i, (got, want)) in got.iter().zip(&mut want).enumerate() {
        assert!(!got.is_nan(), "{case}: {name}[{i}] is NaN, wanted {want}");
        if (f64::from(*got) - *want).abs() <= floor {
            *want = f64::from(*got);
        }
    }
    let error = nmse(&got, &want);
    println!("{case}: {name}: {error:.1e} of {bound:.1e}");
    assert!(error <= bound, "{case}: {name}: NMSE {error:.2e}, bound {bound:.2e}");
}

/// Every element is the oracle's, rounded to f32: what one correctly rounded operation gives.
fn exact(case: &str, name: &str, got: &Tensor, want: &[f64]) {
    for (i, (got, want)) in values(case, got).iter().zip(want).enumerate() {
        assert!(*got == *want as f32, "{case}: {name}[{i}] is {got}, wanted {want}");
    }
}

/// |got − want| ≤ bound·|want|.
fn relative(case: &str, name: &str, got: f64, want: f64, bound: f64) {
    let error = (got - want).abs() / if want == 0.0 { 1.0 } else { want.abs() };
    println!("{case}: {name}: {error:.1e} of {bound:.1e}");
    assert!(error <= bound, "{case}: {name}: {got}, wanted {want}, relative error {error:.2e}");
}

/// Both columns of f32 [P, 2] added up.
fn totals(case: &str, partials: &Tensor) -> [f64; 2] {
    let pairs = wide(&values(case, partials));
    [0, 1].map(|column| pairs.iter().skip(column).step_by(2).sum())
}

fn bits(t: &Tensor) -> Vec<u8> {
    block_on(t.read()).unwrap()
}

/// Under each gate, with each flag, an op does all of its work or leaves its outputs as they were, and is counted.
fn gates<const N: usize>(
    kernel: &'static Kernel,
    outputs: impl Fn(&On) -> [Tensor; N],
    call: impl Fn(&On, Gate<'_>, &mut [Tensor; N]) -> Result<()>,
) {
    for on in sources(kernel) {
        let before = outputs(&on).each_ref().map(bits);
        let run = |gate: Gate<'_>| {
            let mut outs = outputs(&on);
            let start = block_on(on.device.counters()).unwrap();
            call(&on, gate, &mut outs).unwrap();
            let end = block_on(on.device.counters()).unwrap();
            let counted = Counters { allocations: 0, ..end.since(&start) };
            (outs.each_ref().map(bits), counted)
        };
        let on_ = Counters { launched: 1, ..Counters::default() };
        let off = Counters { gated_off: 1, ..Counters::default() };
        let (after, counted) = run(Gate::Open);
        let case = on.case(DType::F32, "", 0.0);
        assert_eq!(counted, on_, "{case}");
        for (i, (after, before)) in after.iter().zip(&before).enumerate() {
            assert_ne!(after, before, "{case}: output {i} did not change");
        }
        for flag in [0, 1, 7] {
            let tensor = on.u32([1], &[flag]);
            for (name, gate, open) in
                [("If", Gate::If(&tensor), flag != 0), ("Unless", Gate::Unless(&tensor), flag == 0)]
            {
                let (got, counted) = run(gate);
                assert!(got == *if open { &after } else { &before }, "{case}: {name}({flag})");
                assert_eq!(counted, if open { on_ } else { off }, "{case}: {name}({flag})");
            }
        }
        let flag = on.zeros(DType::F32, [1]);
        let message = format!("{}: gate: wanted u32 [1], got f32 [1]", on.op);
        refuses(&on, &message, &mut outputs(&on), |outs| call(&on, Gate::If(&flag), outs));
        let elsewhere = On { device: Device::cpu(), ..on };
        let message = two_devices(&on);
        let flag = elsewhere.u32([1], &[1]);
        refuses(&on, &message, &mut outputs(&on), |outs| call(&on, Gate::If(&flag), outs));
        refuses(&on, &message, &mut outputs(&on), |outs| call(&elsewhere, Gate::Open, outs));
    }
}

/// What is said of tensors of two devices.
fn two_devices(on: &On) -> String {
    format!("{}: tensors: wanted all on {}, got tensors of two devices", on.op, on.device.name())
}

/// A call with wrong arguments says so, in these words, and does nothing.
fn refuses<const N: usize>(
    on: &On,
    message: &str,
    outs: &mut [Tensor; N],
    call: impl FnOnce(&mut [Tensor; N]) -> Result<()>,
) {
    // What the call's arguments take to make does not count.
    let counted = || Counters { allocations: 0, ..block_on(on.device.counters()).unwrap() };
    let (before, counters) = (outs.each_ref().map(bits), counted());
    let error = call(outs).expect_err(message);
    assert_eq!(error.to_string(), message);
    assert_eq!(counted(), counters, "{message}");
    assert!(outs.each_ref().map(bits) == before, "{message}: something was written");
}

/// The bits that `run` makes on the CPU do not depend on the number of threads.
fn threads(kernel: &'static Kernel, run: impl Fn(&On) -> Vec<u8> + Sync) {
    let label = kernel.cpu[kernel.cpu.len() - 1].label;
    for label in [None, Some(label)] {
        let [one, three] = [1, 3].map(|n| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
            pool.install(|| {
                let device = Device::cpu();
                device.prefer(label);
                run(&On { device, op: kernel.name, label: label.unwrap_or("best") })
            })
        });
        assert!(one == three, "{} ({label:?}) depends on the number of threads", kernel.name);
    }
}

/// A rule with published coefficients and default settings.
fn teacache(threshold: f64, set: &str, steps: usize) -> TeaCache {
    TeaCache::new(threshold, find(set).unwrap().coefficients, steps)
}
