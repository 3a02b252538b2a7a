//! What several ops use.

mod matmul;
mod modulation;
mod partials;
mod sums;

pub use matmul::{Ends, dot, matmul, tiles, vector, widen};
pub use modulation::{Modulation, ModulationParams, check_modulation, sum};
pub use partials::{PARTIALS, Sums, check_partials, share};
pub use sums::{Begin, Scalars, To, Vectors, sums};

use crate::device::{Need, Source, Text};

/// Elements that a workgroup of an elementwise op takes.
pub const TILE: usize = 4096;

/// A tile of `kernels/product.cuh`, which four warps make, two by two.
pub struct ProductTile {
    rows: usize,
    columns: usize,
    /// The same as macros.
    macros: &'static [(&'static str, u32)],
    /// Bytes of shared memory.
    shared: &'static str,
    /// Cycles that a multiprocessor takes for 32 terms: those of the tensor cores of an H100 by `mma.sync`, or the rounds of
    /// shared memory, if they are more. Each warp reads its rows and columns for each 16 terms, and each is written once; `steep
    /// kernels --counters` counts as many.
    cycles: usize,
}

/// For products of many tiles: the most work for each byte of shared memory. Bound by tensor cores.
pub const LARGE: ProductTile = ProductTile {
    rows: 128,
    columns: 128,
    macros: &[],
    // The sums need more than the four stages.
    shared: "4 * 128 * (128 + 4)",
    cycles: 406,
};
/// Half of it; bound by shared memory, as are the others.
pub const HALF: ProductTile = ProductTile {
    rows: 64,
    columns: 128,
    macros: &[("TILE_ROWS", 64), ("TILE_COLUMNS", 128), ("WARPS_DOWN", 2), ("WARPS_ACROSS", 2)],
    shared: "4 * 2 * (64 + 128) * 32",
    cycles: 288,
};
/// A quarter.
pub const SMALL: ProductTile = ProductTile {
    rows: 64,
    columns: 64,
    macros: &[("TILE_ROWS", 64), ("TILE_COLUMNS", 64), ("WARPS_DOWN", 2), ("WARPS_ACROSS", 2)],
    shared: "4 * 2 * (64 + 64) * 32",
    cycles: 192,
};
/// For products whose larger tiles would leave most multiprocessors without one.
pub const TINY: ProductTile = ProductTile {
    rows: 32,
    columns: 32,
    macros: &[("TILE_ROWS", 32), ("TILE_COLUMNS", 32), ("WARPS_DOWN", 2), ("WARPS_ACROSS", 2)],
    shared: "4 * 2 * (32 + 32) * 32",
    cycles: 96,
};

impl ProductTile {
    /// The source that makes such tiles, for rows of a multiple of `multiple` elements.
    pub const fn source(&self, label: &'static str, text: Text, multiple: usize) -> Source {
        Source::cuda(label, text, 128, [1, self.rows, self.columns])
            .needs(Need::Sm80)
            .halves()
            .multiple(multiple)
            .with(self.macros)
            .shared(self.shared)
            .taking_cycles(self.cycles)
    }
}
