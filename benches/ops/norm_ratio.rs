//! Bytes: two residuals in. Verified by the total of the partial sums.

use steep::device::Gate;
use steep::ops::{NORM_RATIO, PARTIALS, norm_ratio};
use steep::{DType, Device, Result, oracle};

use super::{Case, normal, tolerance};

pub fn cases(device: &Device, _: DType) -> Result<Vec<Case>> {
    [[2, 16, 16, 192], [1, 16, 256, 1152]].map(|shape| case(device, shape)).into_iter().collect()
}

fn case(device: &Device, shape: [usize; 4]) -> Result<Case> {
    let [_, _, _, dim] = shape;
    Ok(Case {
        op: NORM_RATIO.name,
        shape: format!("{}×{dim}", shape[..3].iter().product::<usize>()),
        dtype: DType::F32,
        bytes: (2 * shape.iter().product::<usize>() + PARTIALS) * 4,
        flops: 0,
        writes: vec![normal(device, DType::F32, [PARTIALS, 1], 1)?],
        reads: vec![normal(device, DType::F32, shape, 2)?, normal(device, DType::F32, shape, 3)?],
        run: Box::new(|w, r| norm_ratio(Gate::Open, &mut w[0], &r[0], &r[1])),
        spares: vec![],
        expect: Box::new(move |t| {
            let total = t.after[0].iter().map(|x| f64::from(*x)).sum::<f64>() as f32;
            vec![(vec![total], vec![oracle::norm_ratio(&t.reads[0], &t.reads[1], dim)])]
        }),
        tolerance: tolerance(DType::F32),
    })
}
