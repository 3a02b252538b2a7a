//! Bytes: x in and out, the table in. Verified in full.

use steep::device::Gate;
use steep::ops::temporal_embed;
use steep::{DType, Device, Result, oracle};

use super::{Case, normal, tolerance};

pub fn cases(device: &Device, _: DType) -> Result<Vec<Case>> {
    [[2, 16, 16, 192], [2, 16, 128, 1152]].map(|dims| case(device, dims)).into_iter().collect()
}

fn case(device: &Device, dims: [usize; 4]) -> Result<Case> {
    let [batch, frames, tokens, d] = dims;
    Ok(Case {
        op: "temporal_embed",
        shape: format!("{}×{d}", batch * frames * tokens),
        dtype: DType::F32,
        bytes: 2 * batch * frames * tokens * d * 4 + frames * d * 4,
        flops: 0,
        writes: vec![normal(device, DType::F32, dims, 1)?],
        reads: vec![normal(device, DType::F32, [frames, d], 2)?],
        run: Box::new(|w, r| temporal_embed(Gate::Open, &mut w[0], &r[0])),
        spares: vec![],
        expect: Box::new(move |t| {
            vec![(t.after[0].clone(), oracle::temporal_embed(&t.before[0], &t.reads[0], dims))]
        }),
        tolerance: tolerance(DType::F32),
    })
}
