//! What several ops use.

mod matmul;
mod modulation;
mod partials;
mod sums;

pub use matmul::{Ends, dot, matmul, tiles, vector, widen};
pub use modulation::{Modulation, ModulationParams, check_modulation, sum};
pub use partials::{PARTIALS, Sums, check_partials, share};
pub use sums::{Begin, Scalars, To, Vectors, sums};

/// Elements that a workgroup of an elementwise op takes.
pub const TILE: usize = 4096;

/// Blocks of a product on tensor cores that fill a large GPU.
pub const WIDE: usize = 128;

/// The tile of `kernels/product.cuh` for products of fewer blocks.
pub const SMALL: &[(&str, u32)] =
    &[("TILE_ROWS", 64), ("TILE_COLUMNS", 64), ("WARPS_DOWN", 2), ("WARPS_ACROSS", 2)];
