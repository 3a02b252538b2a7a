//! One evaluation of a whole model, for benches.

use super::bench::{Bench, Run};
use super::{ALL, Bound, Check, Values, normal_numbers};
use crate::device::Gate;
use crate::model::{Checkpoint, Condition, Dit, Model};
use crate::ops::{Update, denoise};
use crate::{DType, Device, Result, Tensor};

/// One evaluation of the model for `batch` clips.
///
/// There are no naive loops of a model. So each op is verified first, in its own cases that are not too large; and the
/// whole is compared with what the portable f32 kernels of the CPU make of the same inputs, which tests hold to PyTorch.
///
/// # Errors
///
/// If an op is wrong, or the device fails.
pub async fn bench(device: &Device, checkpoint: &Checkpoint, dtype: DType, batch: usize) -> Result<Bench> {
    for op in ALL {
        for case in op.benches(dtype) {
            let mut bench = Bench::new(device, case)?;
            if bench.cached() {
                bench.verify().await?;
            }
        }
    }
    let cpu = Device::cpu();
    cpu.prefer(Some("portable"));
    let ((mut writes, reads), mut run) = evaluation(&cpu, checkpoint, DType::F32, batch)?;
    run(&mut writes, &reads)?;
    let want = super::wide(&writes[0].read_f32().await?);
    // Roundings add up over the layers.
    let most = match dtype {
        DType::F32 | DType::U32 => 4e-10,
        DType::F16 => 5e-5,
        DType::BF16 => 3e-3,
    };
    let check = Check::output("out", 0, want, Bound::Stored(DType::F32, most), "roundings of all layers");
    let judge = move |after: &[Vec<f32>]| vec![check.judge(&Values { before: vec![], reads: vec![] }, after)];

    let (tensors, run) = evaluation(device, checkpoint, dtype, batch)?;
    let name = ("forward", format!("{} ×{batch}", checkpoint.name()), dtype);
    let mut bench = Bench::of(device, name, tensors, run, Box::new(judge));
    bench.flops = checkpoint.config().flops(batch) as usize;
    Ok(bench)
}

/// The written and the read ones.
type Tensors = (Vec<Tensor>, Vec<Tensor>);

/// Output, inputs, and what makes the one of the others.
fn evaluation(
    device: &Device,
    checkpoint: &Checkpoint,
    dtype: DType,
    batch: usize,
) -> Result<(Tensors, Run)> {
    // The pass borrows the model; both live as long as what runs them, which a process makes a few times at most.
    let model: &'static Dit = Box::leak(Box::new(Dit::load(device, checkpoint, dtype)?));
    let c = model.config();
    let times = vec![500.0; batch];
    let mut pass = model.begin(&Condition::Classes((0..batch).map(|i| i % c.labels()).collect()), &times)?;
    let clip = [batch, c.frames, c.channels, c.height, c.width];
    let numbers = normal_numbers(1, clip.iter().product(), 0.0, 1.0);
    let z = Tensor::from_f32(device, DType::F32, clip, &numbers)?;
    let out = [batch, c.frames, c.out_channels(), c.height, c.width];
    let out = Tensor::zeros(device, DType::F32, out)?;
    let as_is = Update { keep: 0.0, add: 1.0, guidance: 1.0, channels: usize::MAX };
    let run: Run = Box::new(move |w, r| {
        // The steps of a run share what depends on their times; one evaluation by itself works it out.
        pass.retime(&times)?;
        pass.evaluate(Gate::Open, &r[0], 0)?;
        denoise(Gate::Open, &mut w[0], &pass.streams().tokens, c.patch, as_is)
    });
    Ok(((vec![out], vec![z]), run))
}
