//! Bytes: three streams in. Verified by the totals of the partial sums.

use steep::device::Gate;
use steep::ops::{PARTIALS, residual_distance};
use steep::{DType, Device, Result, oracle};

use super::rel_l1::totals;
use super::{Case, normal, tolerance};

pub fn cases(device: &Device, _: DType) -> Result<Vec<Case>> {
    [(512, 192), (4096, 1152)].map(|(rows, d)| case(device, rows, d)).into_iter().collect()
}

fn case(device: &Device, rows: usize, d: usize) -> Result<Case> {
    let stream = |seed| normal(device, DType::F32, [rows, d], seed);
    Ok(Case {
        op: "residual_distance",
        shape: format!("{rows}×{d}"),
        dtype: DType::F32,
        bytes: (3 * rows * d + PARTIALS * 2) * 4,
        flops: 0,
        writes: vec![normal(device, DType::F32, [PARTIALS, 2], 1)?],
        reads: vec![stream(2)?, stream(3)?, stream(4)?],
        run: Box::new(|w, r| residual_distance(Gate::Open, &mut w[0], &r[0], &r[1], &r[2])),
        spares: vec![],
        expect: Box::new(|t| {
            let sums = oracle::residual_distance(&t.reads[0], &t.reads[1], &t.reads[2]);
            vec![(totals(&t.after[0]), sums.to_vec())]
        }),
        tolerance: tolerance(DType::F32),
    })
}
