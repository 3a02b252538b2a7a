//! FLOPs: 2 per pixel of a patch and channel of its token. Verified in full.

use steep::device::Gate;
use steep::ops::patch_embed;
use steep::{DType, Device, Result, Tensor, oracle};

use super::{Case, normal, tolerance};

pub fn cases(device: &Device, dtype: DType) -> Result<Vec<Case>> {
    // The shipped model, and eight frames of DiT-XL/2's latents.
    [[2, 1, 16, 1, 32, 32, 8, 192], [2, 1, 8, 4, 32, 32, 2, 1152]]
        .map(|dims| case(device, dtype, dims))
        .into_iter()
        .collect()
}

fn case(device: &Device, dtype: DType, dims: [usize; 8]) -> Result<Case> {
    let [batch, samples, frames, channels, height, width, p, d] = dims;
    let (tokens, k) = (height / p * (width / p), channels * p * p);
    let rows = batch * frames * tokens;
    let weights = oracle::data(2, d * k, 0.0, 1.0 / (k as f32).sqrt());
    Ok(Case {
        op: "patch_embed",
        shape: format!("{rows}×{d}×{k}"),
        dtype,
        bytes: (samples * frames * channels * height * width + d + tokens * d + rows * d) * 4
            + d * k * dtype.size(),
        flops: 2 * rows * d * k,
        writes: vec![normal(device, DType::F32, [batch, frames, tokens, d], 1)?],
        reads: vec![
            normal(device, DType::F32, [samples, frames, channels, height, width], 3)?,
            Tensor::from_f32(device, dtype, [d, channels, p, p], &weights)?,
            normal(device, DType::F32, [d], 4)?,
            normal(device, DType::F32, [tokens, d], 5)?,
        ],
        run: Box::new(|w, r| patch_embed(Gate::Open, &mut w[0], &r[0], &r[1], &r[2], &r[3])),
        spares: vec![],
        expect: Box::new(move |t| {
            let out = oracle::patch_embed(&t.reads[0], &t.reads[1], &t.reads[2], &t.reads[3], dims);
            vec![(t.after[0].clone(), out)]
        }),
        // `z` may be rounded to the dtype of the weights.
        tolerance: tolerance(dtype),
    })
}
