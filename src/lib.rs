//! A compact video diffusion transformer with the TeaCache loop, on its own minimal tensor runtime.

pub mod cache;
mod error;

pub use error::{Error, Result};
