//! What several ops use.

mod matmul;
mod modulation;
mod partials;

pub use matmul::{Rows, dot, matmul, widen};
pub use modulation::{Modulation, ModulationParams, check_modulation};
pub use partials::{PARTIALS, Sums, check_partials, share};

use crate::device::wgsl;

/// Elements that a workgroup of an elementwise op takes.
pub const TILE: usize = 4096;

pub const CUT: &str = wgsl!("common/cut");
pub const SUM: &str = wgsl!("common/sum");
pub const LANES_OF_CPU: &str = wgsl!("cpu/lanes");
pub const SUM_OF_LANES: &str = wgsl!("cpu/sum");
pub const LAYER_NORM: &str = wgsl!("common/layer_norm");
pub const LAYER_NORM_NAIVE: &str = wgsl!("ladder/layer_norm_naive");
