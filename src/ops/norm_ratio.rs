//! Σ ‖cur‖ / ‖prev‖ over rows: how the residuals of tokens grow or shrink from one step to the next.

use bytemuck::{Pod, Zeroable};

use super::shared::{check_partials, share, sum};
use crate::device::cpu::{Arguments, Tile};
use crate::device::simd::Isa;
use crate::device::{Call, Gate, Kernel, Source, cpu_sources, cu, wgsl};
use crate::{DType, Result, Tensor};

/// See [`norm_ratio`].
pub static NORM_RATIO: Kernel = Kernel {
    name: "norm_ratio",
    cpu: cpu_sources!(cpu, tile: [1, 1, 4]),
    wgsl: &[Source::wgsl("naive", wgsl!("norm_ratio"), [1, 1, 1])],
    cuda: &[Source::cuda("warp", cu!("norm_ratio"), 256, [1, 1, 1])],
};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    rows: u32,
    dim: u32,
    runs: u32,
}

/// `partials[p] = Σ ‖cur[row]‖ / ‖prev[row]‖` over the p-th share of the rows, in the L2 norm; their sum over the
/// number of rows is MagCache's γ (arXiv 2506.09045, equation 3), with the residuals of this step and the one before.
///
/// - `partials`: f32 [P, 1], P from 1 to 65535
/// - `cur`, `prev`: f32 [B, F, N, d]
pub fn norm_ratio(gate: Gate<'_>, partials: &mut Tensor, cur: &Tensor, prev: &Tensor) -> Result<()> {
    const OP: &str = "norm_ratio";
    let [batch, frames, tokens, dim] = cur.dims(OP, "cur")?;
    cur.expect(OP, "cur", DType::F32, *cur.shape())?;
    prev.expect(OP, "prev", DType::F32, *cur.shape())?;
    let runs = check_partials(OP, partials, 1)?;
    let params = Params { rows: (batch * frames * tokens) as u32, dim: dim as u32, runs: runs as u32 };
    Call::new(&NORM_RATIO, gate, &mut [partials], &[cur, prev])
        .params(&params)
        .work([1, 1, runs])
        .row_lengths(&[dim])
        .run()
}

#[inline(always)]
fn cpu<I: Isa>(args: &Arguments<'_>, Tile([_, _, runs]): &Tile) {
    let p: Params = args.params();
    let d = p.dim as usize;
    for run in runs.clone() {
        let span = share(p.rows as usize, args.work()[2], run);
        let [cur, prev] = [0, 1].map(|i| args.read::<f32>(i)[span.start * d..span.end * d].chunks_exact(d));
        let mut total = 0.0;
        for (cur, prev) in cur.zip(prev) {
            let [cur, prev] = [sum::<I, true>(cur, 0.0), sum::<I, true>(prev, 0.0)];
            total += (f64::from(cur) / f64::from(prev)).sqrt();
        }
        // SAFETY: a run's number belongs to one block.
        let partial = unsafe { args.write::<f32>(0, run..run + 1) };
        partial[0] = total as f32;
    }
}
