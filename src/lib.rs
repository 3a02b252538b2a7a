//! A compact video diffusion transformer with the TeaCache loop, on its own minimal tensor runtime.

pub mod cache;
pub mod calibrate;
pub mod device;
mod error;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod files;
mod generate;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod journal;
pub mod metrics;
pub mod model;
pub mod noise;
pub mod ops;
#[doc(hidden)]
pub mod oracle;
pub mod plot;
pub mod sample;
mod tensor;
pub mod video;

pub use device::Device;
pub use error::{Error, Result};
pub use generate::{Generate, generate};
pub use tensor::{DType, Shape, Tensor};
