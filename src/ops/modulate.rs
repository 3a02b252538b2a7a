//! `out = layer_norm(x) · (1 + scale) + shift`, adaLN's way of conditioning.

use bytemuck::{Pod, Zeroable};

use super::shared::{Modulation, ModulationParams, check_modulation};
use crate::device::cpu::{Arguments, Tile};
use crate::device::simd::{Element, Isa, Scratch, by_dtype, prefetch, stream, streamed};
use crate::device::{Call, Gate, Kernel, Need, Source, cpu_sources, cu, wgsl};
use crate::{Error, Result, Tensor};

/// See [`modulate`].
pub static MODULATE: Kernel = Kernel {
    name: "modulate",
    cpu: cpu_sources!(cpu, tile: [1, 1, 32]),
    wgsl: &[
        Source::wgsl("cpu", wgsl!("cpu/modulate"), [1, 1, 16])
            .with(&[("ROWS", 16)])
            .needs(Need::CpuAdapter)
            .multiple(4),
        Source::wgsl("vec4", wgsl!("modulate"), [1, 1, 16])
            .with(&[("ROWS", 16), ("WG", 256), ("WIDTH", 64)])
            .multiple(4),
        // After `vec4` until a GPU says otherwise; `steep bench` tells.
        Source::wgsl("subgroup", wgsl!("subgroup/modulate"), [1, 1, 16])
            .with(&[("ROWS", 16)])
            .needs(Need::FixedSubgroups)
            .multiple(4),
        Source::wgsl("naive", wgsl!("ladder/modulate_naive"), [1, 1, 64]).with(&[("ROWS", 64)]),
    ],
    cuda: &[Source::cuda("warp", cu!("modulate"), 256, [1, 1, 8])],
};

/// Which chunks of a row of modulation are shift and scale, counted in units of d.
#[derive(Debug, Clone, Copy)]
pub struct Chunks {
    /// The chunk that is added.
    pub shift: usize,
    /// The chunk that multiplies.
    pub scale: usize,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    modulate: ModulationParams,
    epsilon: f32,
}

/// The ε of layer norms, unless a model has another.
pub const EPSILON: f32 = 1e-6;

/// `out = layer_norm(x) · (1 + scale) + shift` over the last dimension, no affine, two passes in f32 (DiT,
/// arXiv 2212.09748, section 3.2).
///
/// - `out`: T [B, .., d]
/// - `x`: f32 [B, .., d]
/// - `mods`: f32 [B, c·d]; row b modulates sample b
/// - `epsilon`: what is added to the variance; above 0
pub fn modulate(
    gate: Gate<'_>,
    out: &mut Tensor,
    x: &Tensor,
    mods: &Tensor,
    chunks: Chunks,
    epsilon: f32,
) -> Result<()> {
    const OP: &str = "modulate";
    let modulate = check_modulation(OP, ("out", out), x, mods, chunks)?;
    if epsilon.is_nan() || epsilon <= 0.0 {
        return Err(Error::argument(OP, "epsilon", "more than 0", epsilon));
    }
    let params = Params { modulate, epsilon };
    Call::new(&MODULATE, gate, &mut [out], &[x, mods])
        .params(&params)
        .work([1, 1, modulate.rows as usize])
        .row_lengths(&modulate.row_lengths())
        .run()
}

/// Outputs of this many bytes leave the caches before anyone reads them.
const LARGE: usize = 16 << 20;

#[inline(always)]
fn cpu<I: Isa>(args: &Arguments<'_>, part: &Tile) {
    by_dtype!(args.write_dtype(0), rows::<I>(args, part))
}

#[inline(always)]
fn rows<I: Isa, T: Element>(args: &Arguments<'_>, Tile([_, _, rows]): &Tile) {
    let Params { modulate: p, epsilon } = args.params();
    let d = p.dim as usize;
    let large = p.rows as usize * d * size_of::<T>() >= LARGE;
    let mut scratch = Scratch::take(if large { d } else { 0 });
    for row in rows.clone() {
        let x = &args.read::<f32>(0)[row * d..(row + 1) * d];
        // SAFETY: a row belongs to one block.
        let out = unsafe { args.write::<T>(0, row * d..(row + 1) * d) };
        let m = Modulation::of_row::<I>(&p, epsilon, args.read(1), x, row);
        if large {
            // Memory would idle while a row is worked on: the next one is asked for meanwhile.
            prefetch(args.read::<f32>(0).get((row + 1) * d..(row + 2) * d).unwrap_or(&[]));
            let staged = &mut bytemuck::cast_slice_mut(scratch.floats())[..d];
            m.apply::<I, T>(x, staged);
            stream(bytemuck::cast_slice_mut(out), bytemuck::cast_slice(staged));
        } else {
            m.apply::<I, T>(x, out);
        }
    }
    if large {
        streamed();
    }
}
