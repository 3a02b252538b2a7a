//! A compact video diffusion transformer with the TeaCache loop, on its own minimal tensor runtime.

pub mod cache;
pub mod device;
mod error;
pub mod model;
pub mod ops;
pub mod sample;
mod tensor;

pub use device::Device;
pub use error::{Error, Result};
pub use tensor::{DType, Shape, Tensor};
