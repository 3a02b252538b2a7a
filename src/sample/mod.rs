//! The sampling loop: the one place where model, cache policy and cached tensors meet.
//!
//! [`steep::generate`](crate::generate()) is the way in. Inside, a run has five parts, each in a file of its own:
//!
//! - `loop.rs`: the steps, from noise to clip;
//! - `batch.rs`: the clips, the model at work on them, and the span of it that a skipped step leaves out;
//! - `measure.rs`: what the policy measures, on the device;
//! - `decide.rs`: who decides a step, and the flag that tells the kernels;
//! - `keep.rs`: what computed steps leave for the skipped ones;
//! - `sampler.rs`: what a prediction does to the clip.
//!
//! A [`Watch`] sees each step without changing it. [`observe`], [`magnitudes`] and [`Recording`] are such watches.

mod batch;
mod decide;
mod json;
mod keep;
mod r#loop;
mod measure;
mod record;
mod sampler;
mod watch;

use crate::cache::{Decision, Step};
use crate::video::Video;
use crate::{Result, memory};

pub(crate) use json::number;
pub(crate) use r#loop::Sampling;
pub use record::{Observed, Recording, magnitudes, observe};
pub(crate) use sampler::{Fresh, Sampler};
pub use sampler::{Method, Schedule, Spacing};
pub use watch::{Moment, Watch};

/// Where the host learns what the device decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GateMode {
    /// The host reads the flag at every step and enqueues what it asks for.
    #[default]
    Host,
    /// The host enqueues everything, the kernels look at the flag, and nothing is read before the end.
    Device,
}

/// A finished run.
#[derive(Debug, Clone)]
pub struct Run {
    /// Z, F, C, H, W: the dimensions of `clips`.
    pub shape: [usize; 5],
    /// f32 [Z, F, C, H, W], nominally in [-1, 1].
    pub clips: Vec<f32>,
    /// What happened at each step.
    pub steps: Vec<StepRecord>,
}

impl Run {
    /// The clips as videos, in the order of the conditions.
    pub fn videos(&self) -> Result<Vec<Video>> {
        let [_, frames, channels, height, width] = self.shape;
        let clips = self.clips.chunks_exact((frames * channels * height * width).max(1));
        let video = |clip| Video::new(frames, channels, height, width, memory::copied(clip, "a video")?);
        clips.map(video).collect()
    }

    /// The decisions and the numbers behind them.
    pub fn trace(&self) -> Vec<Step> {
        self.steps.iter().map(|record| record.step).collect()
    }

    /// How many steps ran what the others skipped.
    pub fn computed(&self) -> usize {
        self.steps.iter().filter(|record| record.step.decision.computes()).count()
    }
}

/// One step of a run.
#[derive(Debug, Clone, Copy)]
pub struct StepRecord {
    /// The model's time, 0 to 1000.
    pub time: f32,
    /// The decision and the numbers behind it.
    pub step: Step,
    /// On the device's clock, in milliseconds.
    pub ms: f64,
}

/// What a run reports while it goes on.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Steps that are done.
    pub done: usize,
    /// The last one's decision, if the host knows it already.
    pub decision: Option<Decision>,
}
