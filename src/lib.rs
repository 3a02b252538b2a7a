//! A compact video diffusion transformer with the TeaCache loop, on its own minimal tensor runtime.

mod error;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod files;
pub mod metrics;
pub mod noise;
pub mod plot;
pub mod video;

pub use error::{Error, Result};
