//! One evaluation of a whole model.

use steep::device::Gate;
use steep::model::{Checkpoint, Condition, Dit, Model};
use steep::ops::{Update, denoise};
use steep::{DType, Device, Result, Tensor};

use super::{Case, Run, normal, ops, tolerance, wide};

/// `Dit::forward` for `batch` clips.
///
/// There is no oracle of a model. So each op is verified first, in its own cases that are not too large; and the whole
/// is compared with what the portable f32 kernels of the CPU make of the same inputs, which tests hold to PyTorch.
pub fn case(device: &Device, checkpoint: &Checkpoint, dtype: DType, batch: usize) -> Result<Case> {
    for (_, cases) in ops::ALL {
        cases(device, dtype)?
            .iter_mut()
            .filter(|case| case.cached())
            .try_for_each(|case| case.verify().map(|_| ()))?;
    }
    let cpu = Device::cpu();
    cpu.prefer(Some("portable"));
    let (mut writes, reads, mut run) = evaluation(&cpu, checkpoint, DType::F32, batch)?;
    run(&mut writes, &reads)?;
    let expected = wide(&writes[0])?;

    let (writes, reads, run) = evaluation(device, checkpoint, dtype, batch)?;
    Ok(Case {
        op: "forward",
        shape: format!("{} ×{batch}", checkpoint.name()),
        dtype,
        bytes: 0,
        flops: checkpoint.config().flops(batch) as usize,
        writes,
        reads,
        run,
        spares: vec![],
        expect: Box::new(move |t| vec![(t.after[0].clone(), expected.clone())]),
        // Roundings add up over the layers.
        tolerance: 100.0 * tolerance(dtype),
    })
}

/// Output, inputs, and what makes the one of the others.
fn evaluation(
    device: &Device,
    checkpoint: &Checkpoint,
    dtype: DType,
    batch: usize,
) -> Result<(Vec<Tensor>, Vec<Tensor>, Run)> {
    // The pass borrows the model, and both live as long as the bench.
    let model: &'static Dit = Box::leak(Box::new(Dit::load(device, checkpoint, dtype)?));
    let c = model.config();
    let times = vec![500.0; batch];
    let classes = (0..batch).map(|i| i % c.classes).collect();
    let mut pass = model.begin(&Condition::Classes(classes), &times)?;
    let inputs = vec![normal(device, DType::F32, [batch, c.frames, c.channels, c.height, c.width], 1)?];
    let out = [batch, c.frames, c.out_channels(), c.height, c.width];
    let out = Tensor::zeros(device, DType::F32, out)?;
    let as_is = Update { keep: 0.0, add: 1.0, guidance: 1.0 };
    let run: Run = Box::new(move |w, r| {
        // A run's steps share what depends on their times; one evaluation by itself does not.
        pass.retime(&times)?;
        pass.evaluate(Gate::Open, &r[0], 0)?;
        denoise(Gate::Open, &mut w[0], &pass.streams().tokens, c.patch, as_is)
    });
    Ok((vec![out], inputs, run))
}
