//! [`modulate`](super::modulate()) of block 0 and the relative-L1 change of its result, in one pass.

use bytemuck::{Pod, Zeroable};

use super::shared::{Modulation, ModulationParams, Sums, check_modulation, check_partials, share};
use super::{Chunks, EPSILON};
use crate::device::cpu::{Arguments, Tile};
use crate::device::simd::{Element, Isa, Scratch, by_dtype};
use crate::device::{Call, Gate, Kernel, Need, Source, cpu_sources, cu, wgsl};
use crate::{Result, Tensor};

/// See [`modulate_rel_l1`].
pub static MODULATE_REL_L1: Kernel = Kernel {
    name: "modulate_rel_l1",
    cpu: cpu_sources!(cpu, tile: [1, 1, 16]),
    wgsl: &[
        Source::wgsl("cpu", wgsl!("cpu/modulate_rel_l1"), [1, 1, 1]).needs(Need::CpuAdapter).multiple(4),
        Source::wgsl("vec4", wgsl!("modulate_rel_l1"), [1, 1, 1])
            .with(&[("WG", 256), ("WIDTH", 64)])
            .multiple(4),
        // After `vec4` until a GPU says otherwise; `steep bench` tells.
        Source::wgsl("subgroup", wgsl!("subgroup/modulate_rel_l1"), [1, 1, 1])
            .needs(Need::FixedSubgroups)
            .multiple(4),
        Source::wgsl("naive", wgsl!("ladder/modulate_rel_l1_naive"), [1, 1, 1]),
    ],
    cuda: &[Source::cuda("block", cu!("modulate_rel_l1"), 256, [1, 1, 1])],
};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    modulate: ModulationParams,
    runs: u32,
}

/// `cur = modulate(x)`, ε = 1e-6; `partials = (Σ|cur − signal|, Σ|signal|)`; `signal = cur`.
///
/// TeaCache compares block 0's modulated input with the previous step's, and block 0 reads that input anyway. So the
/// tensor that block 0 reads doubles as the anchor: the new value takes the old one's place as the two are compared,
/// and the whole measurement costs one extra read. The result is that of `modulate`, bit for bit, and the sums are of
/// the values as stored.
///
/// - `signal`: T [B, .., d]; in: the previous step's, out: this step's
/// - `partials`: f32 [P, 2], one pair of sums per equal run of rows, as [`rel_l1`](super::rel_l1())
/// - `x`: f32 [B, .., d]
/// - `mods`: f32 [B, c·d]
pub fn modulate_rel_l1(
    gate: Gate<'_>,
    signal: &mut Tensor,
    partials: &mut Tensor,
    x: &Tensor,
    mods: &Tensor,
    chunks: Chunks,
) -> Result<()> {
    const OP: &str = "modulate_rel_l1";
    let modulate = check_modulation(OP, ("signal", signal), x, mods, chunks)?;
    let runs = check_partials(OP, partials, 2)?;
    let params = Params { modulate, runs: runs as u32 };
    Call::new(&MODULATE_REL_L1, gate, &mut [signal, partials], &[x, mods])
        .params(&params)
        .work([1, 1, runs])
        .row_lengths(&modulate.row_lengths())
        .run()
}

#[inline(always)]
fn cpu<I: Isa>(args: &Arguments<'_>, part: &Tile) {
    by_dtype!(args.write_dtype(0), runs::<I>(args, part))
}

#[inline(always)]
fn runs<I: Isa, T: Element>(args: &Arguments<'_>, Tile([_, _, runs]): &Tile) {
    let p = args.params::<Params>().modulate;
    let (rows, d) = (p.rows as usize, p.dim as usize);
    let total = args.work()[2];
    let mut scratch = Scratch::take(d);
    for run in runs.clone() {
        let mut sums = Sums::default();
        for row in share(rows, total, run) {
            let x = &args.read::<f32>(0)[row * d..(row + 1) * d];
            // SAFETY: a row belongs to one run, a run to one block.
            let signal = unsafe { args.write::<T>(0, row * d..(row + 1) * d) };
            let cur = &mut bytemuck::cast_slice_mut(scratch.floats())[..d];
            Modulation::of_row::<I>(&p, EPSILON, args.read(1), x, row).apply::<I, T>(x, cur);
            sums.step::<I, T>(cur, signal);
        }
        // SAFETY: a run's pair belongs to one block.
        unsafe { args.write::<f32>(1, run * 2..run * 2 + 2) }.copy_from_slice(&sums.totals());
    }
}
