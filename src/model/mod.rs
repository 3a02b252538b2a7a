//! The model: what a checkpoint holds and how it runs. No word about caching here.

mod config;
mod dit;
mod weights;

pub use config::{Config, Prediction};
pub use dit::{Acts, Dit};
pub use weights::Checkpoint;

/// The checkpoint that comes with the crate: class-conditional Moving MNIST, 16 frames of 32×32.
pub static SHIPPED: &[u8] = include_bytes!("../../models/moving-mnist-32.safetensors");

/// Its calibration, which `steep calibrate --model models/moving-mnist-32.safetensors` writes.
pub static SHIPPED_CALIBRATION: &str = include_str!("../../models/moving-mnist-32.teacache.json");
