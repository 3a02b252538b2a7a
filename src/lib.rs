//! A compact video diffusion transformer with the TeaCache loop, on its own minimal tensor runtime.

pub mod cache;
pub mod calibrate;
pub mod cases;
pub mod device;
mod error;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod files;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod journal;
pub mod metrics;
pub mod model;
pub mod noise;
pub mod ops;
pub mod plot;
pub mod sample;
mod tensor;
pub mod video;

pub use device::Device;
pub use error::{Error, Result};
pub use tensor::{DType, Shape, Tensor};
