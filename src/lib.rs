//! A compact video diffusion transformer with the TeaCache loop, on its own minimal tensor runtime.

mod error;
pub mod noise;

pub use error::{Error, Result};
