//! Bytes: x in, out out, shift and scale of each sample in. Verified in full.

use steep::device::Gate;
use steep::ops::{Chunks, modulate};
use steep::{DType, Device, Result, oracle};

use super::{Case, normal, tolerance};

const SAMPLES: usize = 2;

pub fn cases(device: &Device, dtype: DType) -> Result<Vec<Case>> {
    [(512, 192), (4096, 1152)].map(|(rows, d)| case(device, dtype, rows, d)).into_iter().collect()
}

fn case(device: &Device, dtype: DType, rows: usize, d: usize) -> Result<Case> {
    let shape = [SAMPLES, rows / SAMPLES, d];
    Ok(Case {
        op: "modulate",
        shape: format!("{rows}×{d}"),
        dtype,
        bytes: rows * d * (4 + dtype.size()) + SAMPLES * 2 * d * 4,
        flops: 0,
        writes: vec![normal(device, dtype, shape, 1)?],
        reads: vec![normal(device, DType::F32, shape, 2)?, normal(device, DType::F32, [SAMPLES, 6 * d], 3)?],
        run: Box::new(|w, r| modulate(Gate::Open, &mut w[0], &r[0], &r[1], Chunks { shift: 0, scale: 1 })),
        spares: vec![],
        expect: Box::new(move |t| {
            let out = oracle::modulate(&t.reads[0], &t.reads[1], [SAMPLES, rows, d], 0, 1);
            vec![(t.after[0].clone(), out)]
        }),
        tolerance: tolerance(dtype),
    })
}
