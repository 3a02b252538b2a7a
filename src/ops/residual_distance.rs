//! Σ|(out − in) − kept| and Σ|kept|: how far what a block added is from what it added once before.

use bytemuck::{Pod, Zeroable};

use super::shared::{Sums, check_partials, share};
use crate::device::cpu::{Arguments, Tile};
use crate::device::simd::Isa;
use crate::device::{Call, Gate, Kernel, Source, cpu_sources, cu, wgsl};
use crate::{DType, Result, Tensor};

/// See [`residual_distance`].
pub static RESIDUAL_DISTANCE: Kernel = Kernel {
    name: "residual_distance",
    cpu: cpu_sources!(cpu, tile: [1, 1, 4]),
    wgsl: &[Source::wgsl("naive", wgsl!("residual_distance"), [1, 1, 1])],
    cuda: &[Source::cuda("vec4", cu!("residual_distance"), 512, [1, 1, 1])],
};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    elements: u32,
    runs: u32,
}

/// `partials[p] = (Σ|(out − in) − kept|, Σ|kept|)` over the p-th share of the elements. Nothing moves on: `kept` is
/// of the last computed step, and stays so until another one computes.
///
/// The distance of First-Block Cache (github.com/chengzeyi/ParaAttention), with block 0's output and input. Shares and
/// the order within one are fixed.
///
/// - `partials`: f32 [P, 2], P from 1 to 65535
/// - `out`, `input`, `kept`: f32, of one shape
pub fn residual_distance(
    gate: Gate<'_>,
    partials: &mut Tensor,
    out: &Tensor,
    input: &Tensor,
    kept: &Tensor,
) -> Result<()> {
    const OP: &str = "residual_distance";
    let shape = *out.shape();
    out.expect(OP, "out", DType::F32, shape)?;
    input.expect(OP, "input", DType::F32, shape)?;
    kept.expect(OP, "kept", DType::F32, shape)?;
    let runs = check_partials(OP, partials, 2)?;
    let params = Params { elements: out.elements() as u32, runs: runs as u32 };
    Call::new(&RESIDUAL_DISTANCE, gate, &mut [partials], &[out, input, kept])
        .params(&params)
        .work([1, 1, runs])
        .row_lengths(&[out.elements()])
        .run()
}

#[inline(always)]
fn cpu<I: Isa>(args: &Arguments<'_>, Tile([_, _, runs]): &Tile) {
    let [out, input, kept] = [0, 1, 2].map(|i| args.read::<f32>(i));
    for run in runs.clone() {
        let span = share(out.len(), args.work()[2], run);
        let mut sums = Sums::default();
        sums.residual::<I>([&out[span.clone()], &input[span.clone()], &kept[span]]);
        // SAFETY: a run's pair belongs to one block.
        unsafe { args.write::<f32>(0, run * 2..run * 2 + 2) }.copy_from_slice(&sums.totals());
    }
}
