//! How much memory a run takes, known from the configuration before anything is allocated.

use super::file::PIECE;
use super::weights::expected;
use super::{Config, dit};
use crate::DType;

/// What a run is, as far as its memory depends on it.
#[derive(Debug, Clone, Copy)]
pub struct RunSize {
    /// Clips that are made at once, Z.
    pub clips: usize,
    /// Whether guidance doubles the batch.
    pub guided: bool,
    /// Denoising steps.
    pub steps: usize,
    /// The type of matrix operands.
    pub dtype: DType,
    /// How many residuals the cache keeps; see [`Policy::residuals`](crate::cache::Policy::residuals).
    pub residuals: usize,
    /// How many signals it keeps; see [`Policy::signals`](crate::cache::Policy::signals).
    pub signals: usize,
}

/// The memory of a run in bytes: what it is for, and how much. A number that is too large to count is the largest one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Footprint {
    /// On the device.
    pub device: Vec<(&'static str, u64)>,
    /// On the host.
    pub host: Vec<(&'static str, u64)>,
}

impl Footprint {
    /// One of the device's parts, in bytes; 0 where there is no such part.
    pub fn on_device(&self, part: &str) -> u64 {
        self.device.iter().find(|(name, _)| *name == part).map_or(0, |(_, bytes)| *bytes)
    }
}

/// A product that stays at the largest number.
fn product(factors: &[usize]) -> u64 {
    factors.iter().fold(1, |all, &n| all.saturating_mul(n as u64))
}

impl Config {
    /// The memory that a run of this model takes.
    pub fn footprint(&self, run: RunSize) -> Footprint {
        let batch = run.clips * if run.guided { 2 } else { 1 };
        let (full, narrow) = (size_of::<f32>(), run.dtype.size());
        let stream = |width: usize, size: usize| product(&[batch, self.frames, self.tokens(), width, size]);
        let d = self.dim;
        let first = if self.depth > 1 { d } else { 0 };
        let pixels = self.patch * self.patch * self.out_channels();
        let activations = [
            // stack_in, x; first; tokens; h, qkv, hidden.
            stream(2 * d + first + pixels, full),
            stream((1 + 3 + self.mlp_ratio) * d, narrow),
            product(&[batch, self.modulation(), full]),
        ];
        let all = expected(self);
        let weights = all.iter().map(|(name, shape)| {
            // Operands of matrix products are stored in the run's type, biases and tables in f32.
            let matrix = name.ends_with(".weight") && !name.starts_with("y_embedder");
            (product(shape), if matrix { narrow } else { full } as u64)
        });
        let sum = |parts: &mut dyn Iterator<Item = u64>| parts.fold(0, |all: u64, n| all.saturating_add(n));
        let largest = weights.clone().map(|(elements, _)| elements).max().unwrap_or(0);
        let at_once = run.steps.min(dit::steps_at_once(self, batch));
        let clip = product(&[run.clips, self.frames, self.channels, self.height, self.width, full]);
        Footprint {
            device: vec![
                ("weights", sum(&mut weights.map(|(elements, size)| elements.saturating_mul(size)))),
                ("activations", sum(&mut activations.into_iter())),
                ("modulation", product(&[at_once, batch, self.modulation(), full])),
                // The model's own, and a cache's.
                (
                    "signal",
                    stream(d, narrow).saturating_add(stream(d, full).saturating_mul(run.signals as u64)),
                ),
                ("residuals", stream(d, full).saturating_mul(run.residuals as u64)),
                ("clips", clip),
            ],
            host: vec![
                // A piece of a tensor: as stored, as f32, put together with others, and as it is uploaded.
                ("loading", largest.min(PIECE as u64).saturating_mul(5 * full as u64)),
                // The noise; the result as bytes, as numbers and as videos.
                ("videos", clip.saturating_mul(4)),
            ],
        }
    }
}
