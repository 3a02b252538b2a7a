//! Looking on.

use super::Progress;
use super::decide::Decider;
use crate::cache::Step;
use crate::device::Gate;
use crate::model::Streams;
use crate::ops::{Update, axpby, denoise};
use crate::{DType, Result, Tensor};

/// A step whose prediction is made, and whose clip has not moved on yet.
pub struct Moment<'a> {
    /// Its index, from 0.
    pub step: usize,
    /// The clips that it began with, f32 [Z, F, C, H, W].
    pub z: &'a Tensor,
    /// What the model made of them. Where a skipped step leaves out the whole model, these are of an earlier step.
    pub streams: &'a Streams,
    /// The guided prediction, where a skipped step leaves out the whole model. f32 [Z, F, C, H, W]
    pub(super) prediction: Option<&'a Tensor>,
    pub(super) patch: usize,
    pub(super) clean: Update,
    pub(super) decider: &'a Decider,
}

impl Moment<'_> {
    /// What was decided up to this step, and the numbers behind it. Waits for the device where that decides.
    ///
    /// # Errors
    ///
    /// If the device fails.
    pub async fn decided(&self) -> Result<Vec<Step>> {
        self.decider.steps(self.step + 1).await
    }

    /// What the clips will be if the model is right: the clips less all the noise that it sees in them.
    /// f32 [Z, F, C, H, W]
    ///
    /// # Errors
    ///
    /// If there is no memory for it, or the device fails.
    pub fn estimate(&self) -> Result<Tensor> {
        let mut out = Tensor::zeros(self.z.device(), DType::F32, *self.z.shape())?;
        let z = (self.clean.keep, Some(self.z));
        match self.prediction {
            Some(prediction) => axpby(Gate::Open, &mut out, z, (self.clean.add, prediction))?,
            None => {
                axpby(Gate::Open, &mut out, z, (0.0, self.z))?;
                let add = Update { keep: 1.0, ..self.clean };
                denoise(Gate::Open, &mut out, &self.streams.tokens, self.patch, add)?;
            }
        }
        Ok(out)
    }
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
