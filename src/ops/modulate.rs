//! `out = layer_norm(x) · (1 + scale) + shift`, adaLN's way of conditioning.

use bytemuck::{Pod, Zeroable};

use crate::device::cpu::{Block, Launch};
use crate::device::simd::{Element, Isa, LANES, V, by_dtype};
use crate::device::{Call, Gate, Kernel, cpu_sources};
use crate::{DType, Error, Result, Tensor};

/// See [`modulate`].
pub static MODULATE: Kernel = Kernel { name: "modulate", sources: cpu_sources!(cpu, tile: [1, 1, 32]) };

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

#[inline(always)]
fn cpu<I: Isa>(l: &Launch<'_>, block: &Block) {
    by_dtype!(l.write_dtype(0), rows::<I>(l, block))
}

#[inline(always)]
fn rows<I: Isa, T: Element>(l: &Launch<'_>, Block([_, _, rows]): &Block) {
    let p: Params = l.params();
    let d = p.dim as usize;
    for row in rows.clone() {
        let x = &l.read::<f32>(0)[row * d..(row + 1) * d];
        // SAFETY: a row belongs to one block.
        let out = unsafe { l.write::<T>(0, row * d..(row + 1) * d) };
        let m = Modulation::<I>::of_row(&p, l.read(1), x, row);
        let whole = d / LANES * LANES;
        for j in (0..whole).step_by(LANES) {
            T::store(m.at(V::load(&x[j..]), j), &mut out[j..]);
        }
        if whole < d {
            T::store_tail(m.at(V::load_at(x, whole), whole), &mut out[whole..]);
        }
    }
}

/// What turns a row's elements into its modulated ones: its statistics and its sample's shift and scale.
pub(super) struct Modulation<'a, I> {
    mean: V,
    inverse_deviation: V,
    shift: &'a [f32],
    scale: &'a [f32],
    isa: std::marker::PhantomData<I>,
}

impl<'a, I: Isa> Modulation<'a, I> {
    /// Reads the row twice: the mean, then the deviations from it, so that a large mean costs no precision.
    #[inline(always)]
    pub fn of_row(p: &Params, mods: &'a [f32], x: &[f32], row: usize) -> Self {
        let d = p.dim as usize;
        let mods = &mods[row / p.rows_per_sample as usize * p.mods_columns as usize..];
        let mean = sum(x, V::ZERO, |x, _, acc| acc + x) / d as f32;
        let mean = V::splat(mean);
        let squares = sum(x, mean, |x, mean, acc| {
            let deviation = x - mean;
            deviation.mul_add::<I>(deviation, acc)
        });
        let inverse_deviation = 1.0 / (squares / d as f32 + 1e-6).sqrt();
        Modulation {
            mean,
            inverse_deviation: V::splat(inverse_deviation),
            shift: &mods[p.shift_at as usize..][..d],
            scale: &mods[p.scale_at as usize..][..d],
            isa: std::marker::PhantomData,
        }
    }

    /// Elements `j..j + 16` of the row, modulated.
    #[inline(always)]
    pub fn at(&self, x: V, j: usize) -> V {
        let normal = (x - self.mean) * self.inverse_deviation;
        let (scale, shift) = (V::load_at(self.scale, j), V::load_at(self.shift, j));
        normal.mul_add::<I>(scale + V::splat(1.0), shift)
    }
}

/// Σ over a row: four accumulators, then a tree. `f(x, mean, acc)` adds sixteen elements; in the tail, lanes past the
/// end hold the mean, which must add nothing.
#[inline(always)]
fn sum(x: &[f32], mean: V, f: impl Fn(V, V, V) -> V) -> f32 {
    let mut acc = [V::ZERO; 4];
    let wide = x.chunks_exact(4 * LANES);
    let rest = wide.remainder();
    for x in wide {
        for (i, acc) in acc.iter_mut().enumerate() {
            *acc = f(V::load(&x[i * LANES..]), mean, *acc);
        }
    }
    let rest = rest.chunks_exact(LANES);
    let tail = rest.remainder();
    for x in rest {
        acc[0] = f(V::load(x), mean, acc[0]);
    }
    if !tail.is_empty() {
        acc[1] = f(f32::load_tail(tail, mean.0[0]), mean, acc[1]);
    }
    ((acc[0] + acc[1]) + (acc[2] + acc[3])).sum()
}
