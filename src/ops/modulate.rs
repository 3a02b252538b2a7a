//! `out = layer_norm(x) · (1 + scale) + shift`, adaLN's way of conditioning.

use bytemuck::{Pod, Zeroable};

use super::rel_l1::SUM;
use crate::device::cpu::{Block, Launch};
use crate::device::simd::{Element, Isa, LANES, Scratch, V, by_dtype, mul_add, prefetch, stream, streamed};
use crate::device::{Call, Gate, Kernel, Need, Source, cpu_sources, cu, multiple_of, wgsl};
use crate::{DType, Error, Result, Tensor};

/// See [`modulate`].
pub static MODULATE: Kernel = Kernel {
    name: "modulate",
    cpu: cpu_sources!(cpu, tile: [1, 1, 32]),
    wgsl: &[
        Source::wgsl("cpu", &[LANES_OF_CPU, SUM_OF_LANES, LAYER_NORM, wgsl!("cpu/modulate")], [1, 1, 16])
            .with(&[("ROWS", 16)])
            .needs(Need::CpuAdapter)
            .multiple(4),
        Source::wgsl("vec4", &[SUM, LAYER_NORM, wgsl!("modulate")], [1, 1, 16])
            .with(&[("ROWS", 16), ("WG", 256), ("WIDTH", 64)])
            .multiple(4),
        Source::wgsl("naive", &[LAYER_NORM_NAIVE, wgsl!("ladder/modulate_naive")], [1, 1, 64])
            .with(&[("ROWS", 64)]),
    ],
    cuda: &[Source::cuda("warp", cu!("modulate"), 256, [1, 1, 8])],
};

pub(super) const LANES_OF_CPU: &str = wgsl!("cpu/lanes");
pub(super) const SUM_OF_LANES: &str = wgsl!("cpu/sum");
pub(super) const LAYER_NORM: &str = wgsl!("common/layer_norm");
pub(super) const LAYER_NORM_NAIVE: &str = wgsl!("ladder/layer_norm_naive");

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
pub(super) struct Params {
    pub rows: u32,
    pub dim: u32,
    pub rows_per_sample: u32,
    pub mods_columns: u32,
    pub shift_at: u32,
    pub scale_at: u32,
}

impl Params {
    pub fn multiple(&self) -> usize {
        multiple_of(&[self.dim as usize, self.mods_columns as usize])
    }
}

/// `out = layer_norm(x) · (1 + scale) + shift` over the last dimension, no affine, ε = 1e-6, two passes in f32
/// (DiT, arXiv 2212.09748, section 3.2).
///
/// - `out`: T [B, .., d]
/// - `x`: f32 [B, .., d]
/// - `mods`: f32 [B, c·d]; row b modulates sample b
pub fn modulate(gate: Gate<'_>, out: &mut Tensor, x: &Tensor, mods: &Tensor, chunks: Chunks) -> Result<()> {
    let params = check("modulate", ("out", out), x, mods, chunks)?;
    Call {
        kernel: &MODULATE,
        writes: &mut [out],
        reads: &[x, mods],
        params: bytemuck::bytes_of(&params),
        work: [1, 1, params.rows as usize],
        multiple: params.multiple(),
        constants: &[],
        gate,
    }
    .run()
}

/// The checks that `modulate` and `modulate_rel_l1` share; `name` is what the op calls its result.
pub(super) fn check(
    op: &'static str,
    (name, out): (&'static str, &Tensor),
    x: &Tensor,
    mods: &Tensor,
    chunks: Chunks,
) -> Result<Params> {
    x.expect(op, "x", DType::F32, *x.shape())?;
    let dtype = out.float(op, name)?;
    out.expect(op, name, dtype, *x.shape())?;
    let [samples, columns] = mods.dims(op, "mods")?;
    let dims = x.shape().dims();
    let d = dims.last().copied().unwrap_or(0);
    if dims.len() < 2 || dims[0] != samples || x.elements() == 0 {
        return Err(Error::argument(op, "x", format!("f32 [{samples}, .., d]"), format!("{x:?}")));
    }
    if mods.dtype() != DType::F32 || (chunks.shift.max(chunks.scale) + 1) * d > columns {
        let wanted = format!("f32 [{samples}, c·{d}] with {chunks:?}");
        return Err(Error::argument(op, "mods", wanted, format!("{mods:?}")));
    }
    let rows = x.elements() / d;
    Ok(Params {
        rows: rows as u32,
        dim: d as u32,
        rows_per_sample: (rows / samples) as u32,
        mods_columns: columns as u32,
        shift_at: (chunks.shift * d) as u32,
        scale_at: (chunks.scale * d) as u32,
    })
}

/// Outputs of this many bytes leave the caches before anyone reads them.
const LARGE: usize = 16 << 20;

#[inline(always)]
fn cpu<I: Isa>(l: &Launch<'_>, block: &Block) {
    by_dtype!(l.write_dtype(0), rows::<I>(l, block))
}

#[inline(always)]
fn rows<I: Isa, T: Element>(l: &Launch<'_>, Block([_, _, rows]): &Block) {
    let p: Params = l.params();
    let d = p.dim as usize;
    let large = p.rows as usize * d * size_of::<T>() >= LARGE;
    let mut scratch = Scratch::take(if large { d } else { 0 });
    for row in rows.clone() {
        let x = &l.read::<f32>(0)[row * d..(row + 1) * d];
        // SAFETY: a row belongs to one block.
        let out = unsafe { l.write::<T>(0, row * d..(row + 1) * d) };
        let m = Modulation::of_row::<I>(&p, l.read(1), x, row);
        if large {
            // Memory would idle while a row is worked on: the next one is asked for meanwhile.
            prefetch(l.read::<f32>(0).get((row + 1) * d..(row + 2) * d).unwrap_or(&[]));
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

/// What turns a row's elements into its modulated ones: its statistics and its sample's shift and scale.
pub(super) struct Modulation<'a> {
    mean: f32,
    inverse_deviation: f32,
    shift: &'a [f32],
    scale: &'a [f32],
}

impl<'a> Modulation<'a> {
    /// Reads the row twice: the mean, then the deviations from it, so that a large mean costs no precision.
    #[inline(always)]
    pub fn of_row<I: Isa>(p: &Params, mods: &'a [f32], x: &[f32], row: usize) -> Self {
        let d = p.dim as usize;
        let mods = &mods[row / p.rows_per_sample as usize * p.mods_columns as usize..];
        let mean = sum::<I, false>(x, 0.0) / d as f32;
        let squares = sum::<I, true>(x, mean);
        Modulation {
            mean,
            inverse_deviation: 1.0 / (squares / d as f32 + 1e-6).sqrt(),
            shift: &mods[p.shift_at as usize..][..d],
            scale: &mods[p.scale_at as usize..][..d],
        }
    }

    /// The row, modulated.
    #[inline(always)]
    pub fn apply<I: Isa, T: Element>(&self, x: &[f32], out: &mut [T]) {
        let Modulation { mean, inverse_deviation, .. } = *self;
        for (((out, x), scale), shift) in out.iter_mut().zip(x).zip(self.scale).zip(self.shift) {
            *out = T::from_f32(mul_add::<I>((x - mean) * inverse_deviation, 1.0 + scale, *shift));
        }
    }
}

/// Σ x, or Σ (x − mean)²: four vectors of accumulators, then a tree.
#[inline(always)]
fn sum<I: Isa, const SQUARES: bool>(x: &[f32], mean: f32) -> f32 {
    // Every term is one fused multiply-add: x·1 + acc, or the square of x·1 − mean.
    let (one, minus_mean) = (V::splat(1.0), V::splat(-mean));
    let mut acc = [V::ZERO; 4];
    let (whole, rest) = x.as_chunks::<{ 4 * LANES }>();
    for x in whole {
        for (i, acc) in acc.iter_mut().enumerate() {
            let x = V::load(&x[i * LANES..]);
            *acc = if SQUARES {
                let deviation = x.mul_add::<I>(one, minus_mean);
                deviation.mul_add::<I>(deviation, *acc)
            } else {
                x.mul_add::<I>(one, *acc)
            };
        }
    }
    let mut total = ((acc[0] + acc[1]) + (acc[2] + acc[3])).sum();
    for x in rest {
        total += if SQUARES { (x - mean) * (x - mean) } else { *x };
    }
    total
}
