//! FLOPs: 2·2·S per query and channel of q·kᵀ and p·v. Verified in full for the first and the last head.

use steep::device::Gate;
use steep::ops::{Over, attention};
use steep::{DType, Device, Result, oracle};

use super::{Case, Pair, Values, normal, tolerance};

pub fn cases(device: &Device, dtype: DType) -> Result<Vec<Case>> {
    let shipped = [2, 16, 16, 3, 64];
    [
        (shipped, Over::Tokens),
        (shipped, Over::Frames),
        ([1, 1, 1024, 8, 64], Over::Tokens),
        ([1, 1, 256, 16, 72], Over::Tokens),
    ]
    .map(|(dims, over)| case(device, dtype, dims, over))
    .into_iter()
    .collect()
}

/// Dimensions are [B, F, N, heads, h].
fn case(device: &Device, dtype: DType, dims: [usize; 5], over: Over) -> Result<Case> {
    let [batch, frames, tokens, heads, h] = dims;
    let (rows, d) = (batch * frames * tokens, heads * h);
    let (length, what) = match over {
        Over::Tokens => (tokens, "spatial"),
        Over::Frames => (frames, "temporal"),
    };
    Ok(Case {
        op: "attention",
        shape: format!("{what} {}×{heads}×{length}×{h}", rows / length),
        dtype,
        bytes: 4 * rows * d * dtype.size(),
        flops: 2 * 2 * rows * length * d,
        writes: vec![normal(device, dtype, [batch, frames, tokens, d], 1)?],
        reads: vec![normal(device, dtype, [batch, frames, tokens, 3 * d], 2)?],
        run: Box::new(move |w, r| attention(Gate::Open, &mut w[0], &r[0], heads, over)),
        spares: vec![],
        expect: Box::new(move |t| [0, heads - 1].map(|head| one_head(t, dims, head, over)).into()),
        tolerance: tolerance(dtype),
    })
}

fn one_head(t: &Values, [batch, frames, tokens, heads, h]: [usize; 5], head: usize, over: Over) -> Pair {
    let of_head = |runs: usize| (0..runs).map(move |run| (run * heads + head) * h);
    let rows = batch * frames * tokens;
    let qkv: Vec<f64> = of_head(3 * rows).flat_map(|at| &t.reads[0][at..at + h]).copied().collect();
    let out = of_head(rows).flat_map(|at| &t.after[0][at..at + h]).copied().collect();
    (out, oracle::attention(&qkv, [batch, frames, tokens, 1, h], over))
}
