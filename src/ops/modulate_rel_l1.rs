//! [`modulate`](super::modulate()) of block 0 and the relative-L1 change of its result, in one pass.

use std::ops::Range;

use super::modulate::{Chunks, Modulation, Params, check};
use super::rel_l1::{Sums, check_partials};
use crate::device::cpu::{Block, Launch};
use crate::device::simd::{Element, Isa, Scratch, by_dtype};
use crate::device::{Call, Gate, Kernel, cpu_sources};
use crate::{Result, Tensor};

/// See [`modulate_rel_l1`].
pub static MODULATE_REL_L1: Kernel =
    Kernel { name: "modulate_rel_l1", cpu: cpu_sources!(cpu, tile: [1, 1, 16]), wgsl: &[] };

/// `cur = modulate(x)`; `partials = (Σ|cur − signal|, Σ|signal|)`; `signal = cur`.
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
    let params = check(OP, ("signal", signal), x, mods, chunks)?;
    let runs = check_partials(OP, partials)?;
    Call {
        kernel: &MODULATE_REL_L1,
        writes: &mut [signal, partials],
        reads: &[x, mods],
        params: bytemuck::bytes_of(&params),
        work: [1, 1, runs],
        multiple: params.multiple(),
        constants: &[],
        gate,
    }
    .run()
}

#[inline(always)]
fn cpu<I: Isa>(l: &Launch<'_>, block: &Block) {
    by_dtype!(l.write_dtype(0), runs::<I>(l, block))
}

#[inline(always)]
fn runs<I: Isa, T: Element>(l: &Launch<'_>, Block([_, _, runs]): &Block) {
    let p: Params = l.params();
    let (rows, d) = (p.rows as usize, p.dim as usize);
    let total = l.work()[2];
    let mut scratch = Scratch::take(d);
    for run in runs.clone() {
        let mut sums = Sums::default();
        for row in share(rows, total, run) {
            let x = &l.read::<f32>(0)[row * d..(row + 1) * d];
            // SAFETY: a row belongs to one run, a run to one block.
            let signal = unsafe { l.write::<T>(0, row * d..(row + 1) * d) };
            let cur = &mut bytemuck::cast_slice_mut(scratch.floats())[..d];
            Modulation::of_row::<I>(&p, l.read(1), x, row).apply::<I, T>(x, cur);
            sums.step::<I, T>(cur, signal);
        }
        // SAFETY: a run's pair belongs to one block.
        unsafe { l.write::<f32>(1, run * 2..run * 2 + 2) }.copy_from_slice(&sums.totals());
    }
}

/// The `i`-th of `parts` nearly equal runs of `n`.
#[inline(always)]
pub(super) fn share(n: usize, parts: usize, i: usize) -> Range<usize> {
    n * i / parts..n * (i + 1) / parts
}
