//! Σ|cur − prev| and Σ|prev| in one pass, with `prev := cur` in the same pass.

use bytemuck::{Pod, Zeroable};

use super::shared::{Sums, check_partials, share};
use crate::device::cpu::{Arguments, Tile};
use crate::device::simd::{Element, Isa, LANES, by_dtype};
use crate::device::{Call, Gate, Kernel, Need, Source, cpu_sources, cu, wgsl};
use crate::{Result, Tensor};

/// See [`rel_l1`].
pub static REL_L1: Kernel = Kernel {
    name: "rel_l1",
    cpu: cpu_sources!(cpu, tile: [1, 1, 4]),
    wgsl: &[
        Source::wgsl("cpu", wgsl!("cpu/rel_l1"), [1, 1, 1]).needs(Need::CpuAdapter).multiple(4),
        Source::wgsl("vec4", wgsl!("rel_l1"), [1, 1, 1]).with(&[("WG", 256), ("WIDTH", 256)]).multiple(4),
        // After `vec4` until a GPU says otherwise; `steep bench` tells.
        Source::wgsl("subgroup", wgsl!("subgroup/rel_l1"), [1, 1, 1]).needs(Need::FixedSubgroups).multiple(4),
        Source::wgsl("naive", wgsl!("ladder/rel_l1_naive"), [1, 1, 1]),
    ],
    cuda: &[Source::cuda("vec", cu!("rel_l1"), 512, [1, 1, 1])],
};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    elements: u32,
    runs: u32,
}

/// `partials[p] = (Σ|cur − prev|, Σ|prev|)` over the p-th share of the elements, then `prev = cur`.
///
/// TeaCache's distance is Σ|cur − prev| / Σ|prev| over the whole tensor (arXiv 2411.19108, equation 4); the division
/// is [`tea_gate`](super::tea_gate())'s. Sums are deterministic: shares, and the order within one, are fixed.
///
/// - `prev`: T, in: the previous value, out: `cur`
/// - `partials`: f32 [P, 2], P from 1 to 65535
/// - `cur`: T, the shape of `prev`
pub fn rel_l1(gate: Gate<'_>, prev: &mut Tensor, partials: &mut Tensor, cur: &Tensor) -> Result<()> {
    const OP: &str = "rel_l1";
    let dtype = cur.float(OP, "cur")?;
    prev.expect(OP, "prev", dtype, *cur.shape())?;
    let runs = check_partials(OP, partials, 2)?;
    let params = Params { elements: cur.elements() as u32, runs: runs as u32 };
    Call::new(&REL_L1, gate, &mut [prev, partials], &[cur])
        .params(&params)
        .work([1, 1, runs])
        .row_lengths(&[cur.elements()])
        .run()
}

#[inline(always)]
fn cpu<I: Isa>(args: &Arguments<'_>, part: &Tile) {
    by_dtype!(args.write_dtype(0), runs::<I>(args, part))
}

#[inline(always)]
fn runs<I: Isa, T: Element>(args: &Arguments<'_>, Tile([_, _, runs]): &Tile) {
    let all = args.read::<T>(0);
    // Shares are whole vectors, and the last one takes what is left over.
    let vectors = all.len().div_ceil(LANES);
    for run in runs.clone() {
        let share = share(vectors, args.work()[2], run);
        let span = share.start * LANES..(share.end * LANES).min(all.len());
        let cur = &all[span.clone()];
        // SAFETY: shares are disjoint, and a share belongs to one block.
        let prev = unsafe { args.write::<T>(0, span) };
        let mut sums = Sums::default();
        sums.step::<I, T>(cur, prev);
        // SAFETY: a run's pair belongs to one block.
        unsafe { args.write::<f32>(1, run * 2..run * 2 + 2) }.copy_from_slice(&sums.totals());
    }
}
