//! Bytes: cur in, prev in and out. Verified in full, the partial sums by their total.

use steep::device::Gate;
use steep::ops::{PARTIALS, rel_l1};
use steep::{DType, Device, Result, oracle};

use super::{Case, normal, tolerance};

pub fn cases(device: &Device, dtype: DType) -> Result<Vec<Case>> {
    const LARGE: usize = 64 << 20;
    let large = LARGE / dtype.size();
    [(512 * 192, "512×192"), (large, "2 × 64 MiB")]
        .map(|(n, shape)| case(device, dtype, n, shape))
        .into_iter()
        .collect()
}

fn case(device: &Device, dtype: DType, n: usize, shape: &str) -> Result<Case> {
    Ok(Case {
        op: "rel_l1",
        shape: shape.into(),
        dtype,
        bytes: 3 * n * dtype.size() + PARTIALS * 2 * 4,
        flops: 0,
        writes: vec![normal(device, dtype, [n], 1)?, normal(device, DType::F32, [PARTIALS, 2], 2)?],
        reads: vec![normal(device, dtype, [n], 3)?],
        run: Box::new(|w, r| {
            let [prev, partials] = w else { unreachable!() };
            rel_l1(Gate::Open, prev, partials, &r[0])
        }),
        spares: vec![],
        expect: Box::new(|t| {
            let sums = oracle::rel_l1(&t.reads[0], &t.before[0]);
            vec![(t.after[0].clone(), t.reads[0].clone()), (totals(&t.after[1]), sums.to_vec())]
        }),
        tolerance: tolerance(dtype),
    })
}

/// The partial sums added up: how they are divided is the kernel's affair.
pub fn totals(partials: &[f32]) -> Vec<f32> {
    let total = |column| partials.iter().skip(column).step_by(2).map(|&x| f64::from(x)).sum::<f64>() as f32;
    vec![total(0), total(1)]
}
