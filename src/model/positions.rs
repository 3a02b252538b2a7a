//! The positions of tokens that DiT was trained with: sinusoids, which files need not hold.

use crate::{Result, memory};

/// Sinusoids of columns and rows of a grid, [down·across, dim]: the first half of a token's channels is of its column, the
/// second of its row; each half is the sines, then the cosines, of `place·10000^(−k/(dim/4))` (facebook/DiT's
/// `get_2d_sincos_pos_embed`).
///
/// Places are counted in units of a grid of `base` by `base`, on which the model was trained: on another grid they are
/// closer together or farther apart, as diffusers' `PatchEmbed` has them. Fails where there is no memory for them.
pub(super) fn sinusoids([down, across]: [usize; 2], base: usize, dim: usize) -> Result<Vec<f32>> {
    let quarter = dim / 4;
    let place = |i: usize, of: usize| i as f64 * base as f64 / of as f64;
    let values = down.saturating_mul(across).saturating_mul(4 * quarter);
    let mut all = memory::with_capacity(values, "positions")?;
    for row in 0..down {
        for column in 0..across {
            for at in [place(column, across), place(row, down)] {
                let angle = |k: usize| at * libm::pow(10000.0, -(k as f64) / quarter as f64);
                all.extend((0..quarter).map(|k| libm::sin(angle(k)) as f32));
                all.extend((0..quarter).map(|k| libm::cos(angle(k)) as f32));
            }
        }
    }
    Ok(all)
}
