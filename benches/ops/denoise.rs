//! Bytes: tokens of both halves in, the clip in and out. Verified in full.

use steep::device::Gate;
use steep::ops::{Update, denoise};
use steep::{DType, Device, Result, oracle};

use super::{Case, normal, tolerance};

/// A guided Euler step.
const UPDATE: Update = Update { keep: 1.0, add: -0.02, guidance: 4.0 };

pub fn cases(device: &Device, _: DType) -> Result<Vec<Case>> {
    // The shipped model, and sixteen frames of 64×64 latents.
    [[2, 1, 16, 1, 32, 32, 8, 1], [2, 1, 16, 4, 64, 64, 2, 4]]
        .map(|dims| case(device, dims))
        .into_iter()
        .collect()
}

fn case(device: &Device, dims: [usize; 8]) -> Result<Case> {
    let [batch, samples, frames, channels, height, width, p, predicted] = dims;
    let clip = [samples, frames, channels, height, width];
    let tokens = [batch, frames, height / p * (width / p), p * p * predicted];
    Ok(Case {
        op: "denoise",
        shape: clip.map(|n| n.to_string()).join("×"),
        dtype: DType::F32,
        bytes: (2 * clip.iter().product::<usize>() + tokens.iter().product::<usize>()) * 4,
        flops: 0,
        writes: vec![normal(device, DType::F32, clip, 1)?],
        reads: vec![normal(device, DType::F32, tokens, 2)?],
        run: Box::new(move |w, r| denoise(Gate::Open, &mut w[0], &r[0], p, UPDATE)),
        spares: vec![],
        expect: Box::new(move |t| {
            vec![(t.after[0].clone(), oracle::denoise(&t.before[0], &t.reads[0], dims, UPDATE))]
        }),
        tolerance: tolerance(DType::F32),
    })
}
