//! The model: what a checkpoint holds, and how it runs, cut where caches cut it.
//!
//! A [`Model`] begins a [`Pass`] for a batch of clips and the times of all steps. At each step the pass goes from the
//! clip to the prediction in five parts:
//!
//! ```text
//! embed    stack_in = patches(z) + positions
//! probe    signal = modulate(stack_in): block 0's modulated input, which TeaCache measures
//! first    first = block 0 of (stack_in, signal)
//! rest     x = the other blocks of first
//! head     tokens = linear(modulate(x)): the prediction, patch by patch
//! ```
//!
//! Nothing here knows of caching. What depends on the schedule and the condition alone (the embedding of time and
//! class, the modulation of all blocks) is computed once for all steps and not at each of them.

mod classes;
mod condition;
mod config;
mod decoder;
mod describe;
mod dit;
mod file;
mod footprint;
mod names;
mod pickle;
mod positions;
mod source;
mod weights;
mod zip;

pub use condition::Condition;
pub use config::{Config, Prediction};
pub use decoder::{Decoder, DecoderFile};
pub use dit::Dit;
pub use file::TensorFile;
pub use footprint::{Footprint, RunSize};
pub use source::Source;
pub use weights::Checkpoint;

use crate::device::Gate;
use crate::ops::{Update, denoise};
use crate::{DType, Device, Error, Result, Tensor};

/// The checkpoint that comes with the crate: class-conditional Moving MNIST, 16 frames of 32×32.
pub static SHIPPED: &[u8] = include_bytes!("../../models/moving-mnist-32.safetensors");

/// What it is called.
const SHIPPED_NAME: &str = "moving-mnist-32";

/// Its calibration, which `steep calibrate --model models/moving-mnist-32.safetensors` writes.
pub static SHIPPED_CALIBRATION: &str = include_str!("../../models/moving-mnist-32.teacache.json");

/// A diffusion transformer on a device.
///
/// The sampling loop knows a model by this trait alone, so a model of another architecture, or with another kind of
/// condition, needs no change there.
pub trait Model {
    /// The shape of its clips, and what it predicts.
    fn config(&self) -> &Config;

    /// The type of its matrix operands.
    fn dtype(&self) -> DType;

    /// Where its weights are.
    fn device(&self) -> &Device;

    /// What classifier-free guidance steers away from, for this many clips.
    fn unconditional(&self, clips: usize) -> Condition;

    /// Makes the activations for a batch of B clips, one for each element of `condition`, and all that depends on
    /// condition and times alone. `times` holds S rows of B times, from 0 (clean) to 1000 (noise), a row for each step.
    ///
    /// Fails where the model has no such condition, where `times` is no whole number of rows, or where memory runs out.
    fn begin<'m>(&'m self, condition: &Condition, times: &[f32]) -> Result<Box<dyn Pass + 'm>>;

    /// One evaluation, the whole model without a cache: f32 [B, F, P, H, W], P the channels that it predicts.
    ///
    /// - `z`: f32 [B, F, C, H, W]
    /// - `condition`: of B clips
    /// - `times`: B times, from 0 to 1000
    fn forward(&self, z: &Tensor, condition: &Condition, times: &[f32]) -> Result<Tensor> {
        if times.len() != condition.clips() {
            let wanted = format!("{}, one for each clip", condition.clips());
            return Err(Error::setting(format!("{} times", times.len()), wanted));
        }
        let mut pass = self.begin(condition, times)?;
        pass.evaluate(Gate::Open, z, 0)?;
        pass.prediction(self.config(), times.len())
    }
}

/// The streams between the parts of a [`Pass`], for a batch of B clips.
pub struct Streams {
    /// What the transformer stack is given: patches and positions. f32 [B, F, N, d]
    pub stack_in: Tensor,
    /// What the first block makes of it, where there are other blocks. f32 [B, F, N, d]
    pub first: Tensor,
    /// What the whole stack makes of it. f32 [B, F, N, d]
    pub x: Tensor,
    /// Block 0's modulated input. T [B, F, N, d]
    pub signal: Tensor,
    /// The prediction, patch by patch. f32 [B, F, N, p·p·P]
    pub tokens: Tensor,
}

/// A model at work on one batch. Each part enqueues its calls under `gate` and waits for nothing.
pub trait Pass {
    /// The tensors between the parts.
    fn streams(&self) -> &Streams;

    /// The same, to be written by what stands in for a part.
    fn streams_mut(&mut self) -> &mut Streams;

    /// Replaces the times that the pass began with, by as many: what depends on them is computed anew.
    fn retime(&mut self, times: &[f32]) -> Result<()>;

    /// From the clips `z`, f32 [Z, F, C, H, W], Z dividing B, to `stack_in`, at the time of step `step`.
    fn embed(&mut self, gate: Gate<'_>, z: &Tensor, step: usize) -> Result<()>;

    /// From `stack_in` to `signal`. With `moved`, f32 [P, 2], it also leaves there the partial sums
    /// (Σ|signal − before|, Σ|before|), where `before` is what `signal` held.
    fn probe(&mut self, gate: Gate<'_>, moved: Option<&mut Tensor>) -> Result<()>;

    /// The first block: from `stack_in` and `signal` to `first`, or to `x` where it is the only one.
    fn first(&mut self, gate: Gate<'_>) -> Result<()>;

    /// What is added to `first` before the rest, and is no part of what the first block did: Latte's positions of
    /// frames. Most models add nothing.
    fn place_frames(&mut self, _gate: Gate<'_>) -> Result<()> {
        Ok(())
    }

    /// The other blocks: from `first` to `x`.
    fn rest(&mut self, gate: Gate<'_>) -> Result<()>;

    /// From `x` to `tokens`.
    fn head(&mut self, gate: Gate<'_>) -> Result<()>;

    /// The memory that the activations take, in bytes.
    fn bytes(&self) -> usize;

    /// The whole transformer stack: from `stack_in` and `signal` to `x`.
    fn blocks(&mut self, gate: Gate<'_>) -> Result<()> {
        self.first(gate)?;
        self.place_frames(gate)?;
        self.rest(gate)
    }

    /// The whole model: from `z` to `tokens`.
    fn evaluate(&mut self, gate: Gate<'_>, z: &Tensor, step: usize) -> Result<()> {
        self.embed(gate, z, step)?;
        self.probe(gate, None)?;
        self.blocks(gate)?;
        self.head(gate)
    }

    /// `tokens` in the layout of clips, f32 [B, F, P, H, W].
    fn prediction(&self, config: &Config, batch: usize) -> Result<Tensor> {
        let tokens = &self.streams().tokens;
        let shape = [batch, config.frames, config.out_channels(), config.height, config.width];
        let mut out = Tensor::zeros(tokens.device(), DType::F32, shape)?;
        let as_is = Update { keep: 0.0, add: 1.0, guidance: 1.0, channels: usize::MAX };
        denoise(Gate::Open, &mut out, tokens, config.patch, as_is)?;
        Ok(out)
    }
}
