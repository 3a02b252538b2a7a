//! Looking on.

use super::Progress;
use crate::model::Streams;
use crate::{Result, Tensor};

/// A step whose prediction is made, and whose clip has not moved on yet.
pub struct Moment<'a> {
    /// Its index, from 0.
    pub step: usize,
    /// The clips that it began with, f32 [Z, F, C, H, W].
    pub z: &'a Tensor,
    /// What the model made of them. Where a skipped step leaves out the whole model, these are of an earlier step.
    pub streams: &'a Streams,
}

/// Sees every step of a run, and changes none. A closure that takes [`Progress`] is one.
///
/// An error ends the run.
#[allow(async_fn_in_trait)] // Runs belong to one thread.
pub trait Watch {
    /// Called between a step's prediction and what it does to the clip. Ops may be enqueued here; a read waits.
    async fn step(&mut self, _moment: &Moment<'_>) -> Result<()> {
        Ok(())
    }

    /// Called when a step is enqueued; the device may still be at work on it. Whoever wants to see it done waits here.
    async fn done(&mut self, progress: Progress) -> Result<()>;
}

impl<F: FnMut(Progress) -> Result<()>> Watch for F {
    async fn done(&mut self, progress: Progress) -> Result<()> {
        self(progress)
    }
}
