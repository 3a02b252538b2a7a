//! `out = in + residual`: a skipped step's stand-in for the transformer stack.

use super::residual_store::elementwise;
use super::shared::TILE;
use crate::device::cpu::{Block, Launch};
use crate::device::simd::Isa;
use crate::device::{Gate, Kernel, Need, Source, cpu_sources, cu, wgsl};
use crate::{Result, Tensor};

/// See [`residual_reuse`].
pub static RESIDUAL_REUSE: Kernel = Kernel {
    name: "residual_reuse",
    cpu: cpu_sources!(cpu, tile: [1, 1, 1 << 14]),
    wgsl: &[
        Source::wgsl("cpu", &[wgsl!("cpu/lanes"), wgsl!("residual_reuse")], [1, 1, TILE])
            .with(&[("TILE", TILE as u32)])
            .needs(Need::CpuAdapter)
            .multiple(4),
        Source::wgsl("vec4", &[wgsl!("residual_reuse")], [1, 1, TILE])
            .with(&[("TILE", TILE as u32), ("WG", 256)])
            .multiple(4),
        Source::wgsl("naive", &[wgsl!("ladder/residual_reuse_naive")], [1, 1, TILE])
            .with(&[("TILE", TILE as u32)]),
    ],
    cuda: &[Source::cuda("vec8", cu!("residual_reuse"), 256, [1, 1, 2048])],
};

/// `stack_out = stack_in + residual`, all f32 and of one shape (arXiv 2411.19108, section 3.4: the cache holds the
/// difference, so that the step's own input still enters).
pub fn residual_reuse(
    gate: Gate<'_>,
    stack_out: &mut Tensor,
    stack_in: &Tensor,
    residual: &Tensor,
) -> Result<()> {
    let names = ["stack_out", "stack_in", "residual"];
    elementwise(&RESIDUAL_REUSE, gate, names, stack_out, stack_in, residual)
}

#[inline(always)]
fn cpu<I: Isa>(l: &Launch<'_>, Block([_, _, span]): &Block) {
    let (a, b) = (&l.read::<f32>(0)[span.clone()], &l.read::<f32>(1)[span.clone()]);
    // SAFETY: blocks are disjoint ranges of the output.
    let out = unsafe { l.write::<f32>(0, span.clone()) };
    for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
        *out = a + b;
    }
}
