//! Bytes: two streams in, one out. Verified in full.

use steep::device::Gate;
use steep::ops::axpby;
use steep::{DType, Device, Result, oracle};

use super::{Case, normal, tolerance};

pub fn cases(device: &Device, _: DType) -> Result<Vec<Case>> {
    // Residuals of the shipped model's size and of DiT-XL's.
    [(512, 192), (4096, 1152)].map(|(rows, d)| case(device, rows, d)).into_iter().collect()
}

fn case(device: &Device, rows: usize, d: usize) -> Result<Case> {
    let stream = |seed| normal(device, DType::F32, [rows, d], seed);
    Ok(Case {
        op: "axpby",
        shape: format!("{rows}×{d}"),
        dtype: DType::F32,
        bytes: 3 * rows * d * 4,
        flops: 0,
        writes: vec![stream(1)?],
        reads: vec![stream(2)?, stream(3)?],
        run: Box::new(|w, r| axpby(Gate::Open, &mut w[0], (1.0, Some(&r[0])), (1.0, &r[1]))),
        spares: vec![],
        expect: Box::new(|t| {
            vec![(t.after[0].clone(), oracle::axpby((1.0, &t.reads[0]), (1.0, &t.reads[1])))]
        }),
        tolerance: tolerance(DType::F32),
    })
}
