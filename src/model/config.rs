//! What a checkpoint says about itself.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The shape of a model: JSON in the checkpoint's metadata under `config`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// Frames of a clip.
    pub frames: usize,
    /// Pixels (or latents) of a frame, top to bottom.
    pub height: usize,
    /// Pixels (or latents) of a frame, left to right.
    pub width: usize,
    /// Channels of a frame.
    pub channels: usize,
    /// Side of a square patch.
    pub patch: usize,
    /// Channels of a token, d.
    pub dim: usize,
    /// Transformer blocks.
    pub depth: usize,
    /// Attention heads.
    pub heads: usize,
    /// Width of the MLP in units of d.
    pub mlp_ratio: usize,
    /// Classes, without the "no class" of guidance.
    pub classes: usize,
    /// Whether odd blocks attend over frames (Latte) or all over tokens (DiT).
    pub temporal: bool,
    /// Whether the head also predicts variances, which samplers here leave unused.
    pub learn_sigma: bool,
    /// What the head predicts.
    pub prediction: Prediction,
}

/// What a model predicts, and so which sampler it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Prediction {
    /// v = noise − x along z_t = (1 − t)·x + t·noise: rectified flow, Euler steps.
    Velocity,
    /// The noise in z_t = √ᾱ·x + √(1 − ᾱ)·ε: DDIM steps.
    Epsilon,
}

impl Config {
    /// Parses and checks a configuration.
    pub fn from_json(json: &str) -> Result<Config> {
        let config: Config = serde_json::from_str(json)
            .map_err(|e| Error::setting(format!("config: {e}"), "a model's JSON configuration"))?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<()> {
        // Far above any model, and low enough that no product below overflows. Of depth there is a list of tensors to
        // make before the file can be compared with it.
        const MOST: usize = 1 << 16;
        const DEEPEST: usize = 1 << 10;
        for (name, value) in [
            ("frames", self.frames),
            ("height", self.height),
            ("width", self.width),
            ("channels", self.channels),
            ("patch", self.patch),
            ("dim", self.dim),
            ("depth", self.depth),
            ("heads", self.heads),
            ("mlp_ratio", self.mlp_ratio),
            ("classes", self.classes),
        ] {
            let most = if name == "depth" { DEEPEST } else { MOST };
            if !(1..=most).contains(&value) {
                return Err(Error::setting(format!("config: {name} {value}"), format!("1 to {most}")));
            }
        }
        for (name, value, of, divisor) in [
            ("height", self.height, "patch", self.patch),
            ("width", self.width, "patch", self.patch),
            ("dim", self.dim, "heads", self.heads),
        ] {
            if value % divisor != 0 {
                let what = format!("config: {name} {value}");
                return Err(Error::setting(what, format!("a multiple of {of} {divisor}")));
            }
        }
        Ok(())
    }

    /// Tokens of a frame, N.
    pub fn tokens(&self) -> usize {
        (self.height / self.patch) * (self.width / self.patch)
    }

    /// Values of modulation for a sample at one step: six chunks of d for each block and two for the head (adaLN-Zero).
    pub fn modulation(&self) -> usize {
        (6 * self.depth + 2) * self.dim
    }

    /// Channels that the head predicts.
    pub fn out_channels(&self) -> usize {
        self.channels * if self.learn_sigma { 2 } else { 1 }
    }

    /// Values of one clip.
    pub fn clip(&self) -> usize {
        self.frames * self.channels * self.height * self.width
    }

    /// The label that means "no class".
    pub fn unconditional(&self) -> usize {
        self.classes
    }

    /// Multiplications and additions of one evaluation of the whole model for `batch` clips: those of the condition, the
    /// [`blocks`](Self::block_flops), and the two ends of the model.
    pub fn flops(&self, batch: usize) -> u64 {
        let (d, rows) = (self.dim as u64, (batch * self.frames * self.tokens()) as u64);
        let pixels = (self.patch * self.patch) as u64;
        let ends = (self.channels + self.out_channels()) as u64 * pixels;
        2 * rows * d * ends + self.condition_flops(batch) + self.block_flops(batch)
    }

    /// Those of what depends on time and condition alone: the embedding of time, and modulation. A run does them once
    /// for all of its steps.
    pub fn condition_flops(&self, batch: usize) -> u64 {
        let d = self.dim as u64;
        2 * batch as u64 * (256 * d + d * d + d * self.modulation() as u64)
    }

    /// Those of the transformer blocks alone, which a skipped step does without.
    pub fn block_flops(&self, batch: usize) -> u64 {
        let (d, rows) = (self.dim as u64, (batch * self.frames * self.tokens()) as u64);
        let matrices = rows * d * d * (4 + 2 * self.mlp_ratio as u64);
        let attention = |length: usize| 2 * rows * d * length as u64;
        let temporal = if self.temporal { self.depth / 2 } else { 0 };
        let spatial = (self.depth - temporal) as u64;
        let attention = spatial * attention(self.tokens()) + temporal as u64 * attention(self.frames);
        2 * (self.depth as u64 * matrices + attention)
    }
}
