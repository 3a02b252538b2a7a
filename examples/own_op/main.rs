//! An op of your own, `soft_clip`, in three languages: this file has it for the CPU, the two beside it for GPUs. It is
//! checked against f64 and timed, by every source, on every device of this machine.
//!
//! ```sh
//! cargo run --release --example own_op
//! ```

use pollster::block_on;
use steep::device::cpu::{Arguments, Tile};
use steep::device::simd::{Isa, mul_add};
use steep::device::{Call, Gate, Kernel, Source, Text, cpu_sources};
use steep::{DType, Device, Result, Tensor};

static SOFT_CLIP: Kernel = Kernel {
    name: "soft_clip",
    cpu: cpu_sources!(cpu, tile: [1, 1, 1 << 14]),
    wgsl: &[Source::wgsl("naive", Text::new("own_op.wgsl", include_str!("own_op.wgsl")), [1, 1, 4096])
        .with(&[("TILE", 4096)])],
    // SAFETY: the kernel touches no element from `elements` on, and each thread writes its own.
    cuda: &[Source::cuda(
        "naive",
        unsafe { Text::trusted("own_op.cu", include_str!("own_op.cu")) },
        256,
        [1, 1, 256],
    )],
};

/// `y = x / √(1 + x²)`, both f32 and of one shape: x, softly clipped to (−1, 1).
fn soft_clip(gate: Gate<'_>, y: &mut Tensor, x: &Tensor) -> Result<()> {
    y.expect("soft_clip", "y", DType::F32, *x.shape())?;
    x.expect("soft_clip", "x", DType::F32, *x.shape())?;
    let elements = x.elements();
    Call::new(&SOFT_CLIP, gate, &mut [y], &[x]).params(&(elements as u32)).work([1, 1, elements]).run()
}

#[inline(always)]
fn cpu<I: Isa>(args: &Arguments<'_>, Tile([_, _, span]): &Tile) {
    // SAFETY: tiles are disjoint ranges of y.
    let y = unsafe { args.write::<f32>(0, span.clone()) };
    for (y, x) in y.iter_mut().zip(&args.read::<f32>(0)[span.clone()]) {
        *y = x / mul_add::<I>(*x, *x, 1.0).sqrt();
    }
}

/// Seconds that a call takes on the device's clock, of many in a row.
fn time(device: &Device, y: &mut Tensor, x: &Tensor) -> Result<f64> {
    const CALLS: usize = 20;
    let begin = device.mark();
    for _ in 0..CALLS {
        soft_clip(Gate::Open, y, x)?;
    }
    Ok(block_on(device.seconds(&[begin, device.mark()]))?[0] / CALLS as f64)
}

fn main() -> Result<()> {
    // No multiple of a tile, and from −8 to 8.
    let values: Vec<f32> = (0..1_000_003).map(|i| (i % 1601 - 800) as f32 / 100.0).collect();
    for device in block_on(Device::all()) {
        for source in device.sources(&SOFT_CLIP) {
            device.prefer(Some(source.label));
            let x = Tensor::from_f32(&device, DType::F32, [values.len()], &values)?;
            let mut y = Tensor::guarded(&device, DType::F32, [values.len()])?;

            let flag = Tensor::from_u32(&device, [1], &[0])?;
            soft_clip(Gate::If(&flag), &mut y, &x)?;
            assert!(block_on(y.read_f32())?.iter().all(|y| y.is_nan()), "a closed gate let the call pass");

            soft_clip(Gate::Unless(&flag), &mut y, &x)?;
            assert!(!block_on(y.overrun())?, "written past the end");
            let mut worst = 0f64;
            for (x, y) in values.iter().zip(block_on(y.read_f32())?) {
                let x = f64::from(*x);
                worst = worst.max((f64::from(y) - x / (1.0 + x * x).sqrt()).abs());
            }
            // WGSL rounds a square root and a quotient to 2.5 units in the last place and more.
            assert!(worst < 1e-6, "{worst:e}");

            let seconds = time(&device, &mut y, &x)?;
            let rate = 2.0 * x.bytes() as f64 / seconds / 1e9;
            let (name, label) = (device.describe(), source.label);
            println!("{name}, {label}: error {worst:.1e}, {:.3} ms, {rate:.1} GB/s", seconds * 1e3);
        }
    }
    Ok(())
}
