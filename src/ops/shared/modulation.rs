//! adaLN's way of conditioning: a layer norm without weights of its own, then a scale and a shift of the sample's.

use bytemuck::{Pod, Zeroable};

use crate::device::simd::{Element, Isa, LANES, V, mul_add};
use crate::ops::Chunks;
use crate::{DType, Error, Result, Tensor};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct ModulationParams {
    pub rows: u32,
    pub dim: u32,
    pub rows_per_sample: u32,
    pub mods_columns: u32,
    pub shift_at: u32,
    pub scale_at: u32,
}

impl ModulationParams {
    pub fn row_lengths(&self) -> [usize; 2] {
        [self.dim as usize, self.mods_columns as usize]
    }
}

/// The checks that `modulate` and `modulate_rel_l1` share; `name` is what the op calls its result.
pub fn check_modulation(
    op: &'static str,
    (name, out): (&'static str, &Tensor),
    x: &Tensor,
    mods: &Tensor,
    chunks: Chunks,
) -> Result<ModulationParams> {
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
    Ok(ModulationParams {
        rows: rows as u32,
        dim: d as u32,
        rows_per_sample: (rows / samples) as u32,
        mods_columns: columns as u32,
        shift_at: (chunks.shift * d) as u32,
        scale_at: (chunks.scale * d) as u32,
    })
}

/// What turns a row's elements into its modulated ones: its statistics and its sample's shift and scale.
pub struct Modulation<'a> {
    mean: f32,
    inverse_deviation: f32,
    shift: &'a [f32],
    scale: &'a [f32],
}

impl<'a> Modulation<'a> {
    /// Reads the row twice: the mean, then the deviations from it, so that a large mean costs no precision.
    #[inline(always)]
    pub fn of_row<I: Isa>(
        p: &ModulationParams,
        epsilon: f32,
        mods: &'a [f32],
        x: &[f32],
        row: usize,
    ) -> Self {
        let d = p.dim as usize;
        let mods = &mods[row / p.rows_per_sample as usize * p.mods_columns as usize..];
        let mean = sum::<I, false>(x, 0.0) / d as f32;
        let squares = sum::<I, true>(x, mean);
        Modulation {
            mean,
            inverse_deviation: 1.0 / (squares / d as f32 + epsilon).sqrt(),
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
pub fn sum<I: Isa, const SQUARES: bool>(x: &[f32], mean: f32) -> f32 {
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
