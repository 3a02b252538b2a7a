//! Bytes: four lists of partial sums in; a launch and no more. Verified in full.

use steep::device::Gate;
use steep::ops::{EasySums, PARTIALS, easy_distance};
use steep::{DType, Device, Result, Tensor, oracle};

use super::{Case, normal, tolerance};

pub fn cases(device: &Device, _: DType) -> Result<Vec<Case>> {
    let data = |seed| oracle::data(seed, PARTIALS * 2, 4.0, 1.0);
    let sums = |seed| Tensor::from_f32(device, DType::F32, [PARTIALS, 2], &data(seed));
    let all = EasySums { moved: sums(1)?, inputs: sums(2)?, outputs: sums(3)?, sizes: sums(4)? };
    Ok(vec![Case {
        op: "easy_distance",
        shape: format!("4×{PARTIALS}×2"),
        dtype: DType::F32,
        bytes: 4 * PARTIALS * 2 * 4,
        flops: 0,
        writes: vec![normal(device, DType::F32, [1, 2], 5)?],
        reads: vec![],
        run: Box::new(move |w, _| easy_distance(Gate::Open, &mut w[0], &all)),
        spares: vec![],
        expect: Box::new(move |t| {
            let [a, b, c, d] = [1, 2, 3, 4].map(|seed| oracle::wide(&data(seed)));
            vec![(t.after[0].clone(), oracle::easy_distance(&a, &b, &c, &d).to_vec())]
        }),
        tolerance: tolerance(DType::F32),
    }])
}
