//! Bytes: time and a row of the table in, the sum and its SiLU out. Verified in full.

use steep::device::Gate;
use steep::ops::label_embed;
use steep::{DType, Device, Result, Tensor, oracle};

use super::{Case, normal, tolerance};

const CLASSES: usize = 10;

pub fn cases(device: &Device, dtype: DType) -> Result<Vec<Case>> {
    [(2, 192), (64, 1152)].map(|(batch, d)| case(device, dtype, batch, d)).into_iter().collect()
}

fn case(device: &Device, dtype: DType, batch: usize, d: usize) -> Result<Case> {
    let labels: Vec<u32> = (0..batch as u32).map(|b| b * 7 % (CLASSES as u32 + 1)).collect();
    Ok(Case {
        op: "label_embed",
        shape: format!("{batch}×{d}"),
        dtype,
        bytes: batch * (d * (3 * 4 + dtype.size()) + 4),
        flops: 0,
        writes: vec![normal(device, DType::F32, [batch, d], 1)?, normal(device, dtype, [batch, d], 2)?],
        reads: vec![
            normal(device, DType::F32, [batch, d], 3)?,
            normal(device, DType::F32, [CLASSES + 1, d], 4)?,
            Tensor::from_u32(device, [batch], &labels)?,
        ],
        run: Box::new(|w, r| {
            let [c, act] = w else { unreachable!() };
            label_embed(Gate::Open, c, act, &r[0], &r[1], &r[2])
        }),
        spares: vec![],
        expect: Box::new(move |t| {
            let (c, act) = oracle::label_embed(&t.reads[0], &t.reads[1], &labels, d);
            vec![(t.after[0].clone(), c), (t.after[1].clone(), act)]
        }),
        tolerance: tolerance(dtype),
    })
}
