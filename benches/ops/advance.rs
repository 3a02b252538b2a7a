//! Bytes: a prediction in, the clip in and out. Verified in full.

use steep::device::Gate;
use steep::ops::{Update, advance};
use steep::{DType, Device, Result, oracle};

use super::{Case, normal, tolerance};

const UPDATE: Update = Update { keep: 1.0, add: -0.02, guidance: 1.0 };

pub fn cases(device: &Device, _: DType) -> Result<Vec<Case>> {
    // The shipped model's clip, and sixteen frames of 64×64 latents.
    [[1, 16, 1, 32, 32], [1, 16, 4, 64, 64]].map(|clip| case(device, clip)).into_iter().collect()
}

fn case(device: &Device, clip: [usize; 5]) -> Result<Case> {
    Ok(Case {
        op: "advance",
        shape: clip.map(|n| n.to_string()).join("×"),
        dtype: DType::F32,
        bytes: 3 * clip.iter().product::<usize>() * 4,
        flops: 0,
        writes: vec![normal(device, DType::F32, clip, 1)?],
        reads: vec![normal(device, DType::F32, clip, 2)?],
        run: Box::new(|w, r| advance(Gate::Open, &mut w[0], &r[0], UPDATE)),
        spares: vec![],
        expect: Box::new(|t| vec![(t.after[0].clone(), oracle::advance(&t.before[0], &t.reads[0], UPDATE))]),
        tolerance: tolerance(DType::F32),
    })
}
