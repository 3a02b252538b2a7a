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
