//! Bytes: a signal in, what is left of it out; each element is read once for each place of the axis, from a cache.
//! Verified in full.

use steep::device::Gate;
use steep::ops::spectral_filter;
use steep::{DType, Device, Result, oracle};

use super::{Case, normal, tolerance};

pub fn cases(device: &Device, dtype: DType) -> Result<Vec<Case>> {
    // The shipped model's axis of frames, and its axis of columns.
    [[2, 16, 16 * 192], [128, 4, 192]].map(|dims| case(device, dtype, dims)).into_iter().collect()
}

fn case(device: &Device, dtype: DType, dims: [usize; 3]) -> Result<Case> {
    let [_, n, stride] = dims;
    let elements = dims.iter().product::<usize>();
    Ok(Case {
        op: "spectral_filter",
        shape: dims.map(|n| n.to_string()).join("×"),
        dtype,
        bytes: elements * (dtype.size() + 4),
        flops: 0,
        writes: vec![normal(device, DType::F32, [elements], 1)?],
        reads: vec![normal(device, dtype, [elements], 2)?, normal(device, DType::F32, [1, n], 3)?],
        run: Box::new(move |w, r| spectral_filter(Gate::Open, &mut w[0], &r[0], (&r[1], 0), stride)),
        spares: vec![],
        expect: Box::new(move |t| {
            vec![(t.after[0].clone(), oracle::spectral_filter(&t.reads[0], &t.reads[1], stride))]
        }),
        tolerance: tolerance(DType::F32),
    })
}
