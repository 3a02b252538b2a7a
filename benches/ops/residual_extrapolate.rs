//! Bytes: three streams in, one out. Verified in full.

use steep::device::Gate;
use steep::ops::{DECISION, TRACE_COLUMNS, residual_extrapolate};
use steep::{DType, Device, Result, Tensor, oracle};

use super::{Case, normal, tolerance};

/// A step after every other of four computed.
const COMPUTED: [bool; 5] = [true, false, true, false, false];

pub fn cases(device: &Device, _: DType) -> Result<Vec<Case>> {
    [(512, 192), (4096, 1152)].map(|(rows, d)| case(device, rows, d)).into_iter().collect()
}

fn case(device: &Device, rows: usize, d: usize) -> Result<Case> {
    let stream = |seed| normal(device, DType::F32, [rows, d], seed);
    let mut trace = [0.0; COMPUTED.len() * TRACE_COLUMNS];
    for (row, computed) in trace.chunks_exact_mut(TRACE_COLUMNS).zip(COMPUTED) {
        row[DECISION] = f32::from(u8::from(computed));
    }
    let trace = Tensor::from_f32(device, DType::F32, [COMPUTED.len(), TRACE_COLUMNS], &trace)?;
    const STEP: usize = COMPUTED.len() - 1;
    Ok(Case {
        op: "residual_extrapolate",
        shape: format!("{rows}×{d}"),
        dtype: DType::F32,
        bytes: 4 * rows * d * 4,
        flops: 0,
        writes: vec![stream(1)?],
        reads: vec![stream(2)?, stream(3)?, stream(4)?, trace],
        run: Box::new(|w, r| residual_extrapolate(Gate::Open, &mut w[0], &r[0], &r[1], &r[2], (&r[3], STEP))),
        spares: vec![],
        expect: Box::new(|t| {
            let [x, r, b] = [0, 1, 2].map(|i| &t.reads[i]);
            vec![(t.after[0].clone(), oracle::residual_extrapolate(x, r, b, &COMPUTED[..STEP]))]
        }),
        tolerance: tolerance(DType::F32),
    })
}
