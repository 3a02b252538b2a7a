//! What several ops use.

mod matmul;
mod modulation;
mod partials;

pub use matmul::{Rows, dot, matmul, widen};
pub use modulation::{Modulation, ModulationParams, check_modulation};
pub use partials::{PARTIALS, Sums, check_partials, share};

/// Elements that a workgroup of an elementwise op takes.
pub const TILE: usize = 4096;
