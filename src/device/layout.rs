//! How matrices stand in a processor's memory.

use bytemuck::Pod;
use rayon::prelude::*;

use super::simd::{LANES, Scratch};
use crate::DType;

/// How the rows of a matrix stand in a processor's memory; see [`Tensor::for_products`](crate::Tensor::for_products).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Layout {
    /// One after the other.
    #[default]
    Rows,
    /// In panels of 16 rows, all of a column beside one another, so that a product takes them as they come.
    Panels,
    /// The same of pairs: two columns to a unit of 32 bits.
    PairPanels,
}

impl Layout {
    /// Whether a kernel that takes this one takes the other: rows always, and who unpacks panels unpacks pairs.
    pub(super) fn takes(self, other: Layout) -> bool {
        self == other || other == Layout::Rows || (self, other) == (Layout::Panels, Layout::PairPanels)
    }

    /// Whether a kernel that takes this one multiplies with elements that stand in the other as they are: those of 32 bits,
    /// or pairs. Others are widened first.
    pub(super) fn as_it_is(self, other: Layout, dtype: DType) -> bool {
        match other {
            Layout::Rows => false,
            Layout::Panels => dtype == DType::F32,
            Layout::PairPanels => self == Layout::PairPanels,
        }
    }

    /// Brings n rows into this layout, in place. n is a multiple of 16, and a row of whole units.
    pub(super) fn arrange(self, bytes: &mut [u8], n: usize, size: usize) {
        self.turned::<true>(bytes, n, size);
    }

    /// The opposite.
    pub(super) fn restore(self, bytes: &mut [u8], n: usize, size: usize) {
        self.turned::<false>(bytes, n, size);
    }

    fn turned<const TO_PANELS: bool>(self, bytes: &mut [u8], n: usize, size: usize) {
        match (self, size) {
            (Layout::Rows, _) => {}
            (Layout::Panels, 2) => turn::<u16, TO_PANELS>(bytemuck::cast_slice_mut(bytes), n),
            _ => turn::<u32, TO_PANELS>(bytemuck::cast_slice_mut(bytes), n),
        }
    }
}

fn turn<T: Pod + Send + Sync, const TO_PANELS: bool>(all: &mut [T], n: usize) {
    let k = all.len() / n;
    all.par_chunks_exact_mut(LANES * k).for_each(|panel| {
        let mut scratch = Scratch::take(LANES * k);
        let old = &mut bytemuck::cast_slice_mut::<f32, T>(scratch.floats())[..LANES * k];
        old.copy_from_slice(panel);
        for (at, column) in (0..k).zip((0..).step_by(LANES)) {
            for i in 0..LANES {
                let (row, lane) = (i * k + at, column + i);
                let (from, to) = if TO_PANELS { (row, lane) } else { (lane, row) };
                panel[to] = old[from];
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panels_hold_columns_side_by_side() {
        let (n, k) = (32, 3);
        let rows: Vec<u16> = (0..n * k).map(|i| i as u16).collect();
        let mut panels = rows.clone();
        Layout::Panels.arrange(bytemuck::cast_slice_mut(&mut panels), n, 2);
        // Panel 1, column 2, row 16 + 5.
        assert_eq!(panels[16 * k + 2 * LANES + 5], rows[(16 + 5) * k + 2]);
        Layout::Panels.restore(bytemuck::cast_slice_mut(&mut panels), n, 2);
        assert_eq!(panels, rows);
    }

    #[test]
    fn pairs_stay_together() {
        let (n, k) = (16, 4);
        let rows: Vec<u16> = (0..n * k).map(|i| i as u16).collect();
        let mut lines = vec![0u32; rows.len() / 2];
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut lines);
        bytes.copy_from_slice(bytemuck::cast_slice(&rows));
        Layout::PairPanels.arrange(bytes, n, 2);
        let panels: &[u16] = bytemuck::cast_slice(bytes);
        // Columns 2 and 3 of row 7.
        assert_eq!(panels[2 * (LANES + 7)..][..2], rows[7 * k + 2..][..2]);
        Layout::PairPanels.restore(bytes, n, 2);
        assert_eq!(bytemuck::cast_slice::<u8, u16>(bytes), rows);
    }
}
