//! Bytes: times in, sinusoids out; far too few to matter, the time is that of a launch and of cos. Verified in full.

use steep::device::Gate;
use steep::ops::{FREQUENCIES, time_embed};
use steep::{DType, Device, Result, oracle};

use super::{Case, normal, tolerance};

pub fn cases(device: &Device, dtype: DType) -> Result<Vec<Case>> {
    [2, 64].map(|batch| case(device, dtype, batch)).into_iter().collect()
}

fn case(device: &Device, dtype: DType, batch: usize) -> Result<Case> {
    Ok(Case {
        op: "time_embed",
        shape: format!("{batch} times"),
        dtype,
        bytes: batch * (4 + 2 * FREQUENCIES * dtype.size()),
        flops: 0,
        writes: vec![normal(device, dtype, [batch, 2 * FREQUENCIES], 1)?],
        // Near 0: at 1000 the frequencies, which are f32 in the model too, are half a thousandth of a radian off.
        reads: vec![normal(device, DType::F32, [1, batch], 2)?],
        run: Box::new(|w, r| time_embed(Gate::Open, &mut w[0], &r[0], 0)),
        spares: vec![],
        expect: Box::new(|t| vec![(t.after[0].clone(), oracle::time_embed(&t.reads[0]))]),
        tolerance: tolerance(dtype),
    })
}
