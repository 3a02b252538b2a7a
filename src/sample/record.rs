//! What an uncached run tells about the cached ones.

use super::{Batch, Settings};
use crate::device::Gate;
use crate::model::Dit;
use crate::ops::{PARTIALS, denoise, norm_ratio, rel_l1, residual_store};
use crate::{DType, Result, Tensor};

/// MagCache's table: γ of each step of an uncached run, the mean over tokens of ‖R_t‖ / ‖R_{t−1}‖ (arXiv 2506.09045,
/// equation 3), R what the transformer stack adds to its input. The first step, which has none before it, counts 1.
///
/// Both halves of a guided batch count alike: they share one decision.
pub async fn magnitudes(model: &Dit, settings: &Settings, noise: &[f32]) -> Result<Vec<f64>> {
    let device = model.device();
    let mut batch = Batch::new(model, settings, noise)?;
    let like = *batch.acts.x.shape();
    let mut now = Tensor::zeros(device, DType::F32, like)?;
    let mut before = Tensor::zeros(device, DType::F32, like)?;
    let mut moved = Tensor::zeros(device, DType::F32, [PARTIALS, 2])?;
    let mut sums = Tensor::zeros(device, DType::F32, [PARTIALS, 1])?;
    let tokens = (like.elements().unwrap_or(0) / model.config().dim) as f64;
    let mut ratios = vec![];
    for i in 0..settings.steps {
        batch.step(model, i)?;
        residual_store(Gate::Open, &mut now, &batch.acts.x, &batch.acts.stack_in)?;
        if i > 0 {
            norm_ratio(Gate::Open, &mut sums, &now, &before)?;
            ratios.push(sums.read_f32().await?.iter().map(|x| f64::from(*x)).sum::<f64>() / tokens);
        } else {
            ratios.push(1.0);
        }
        // Moves `before` on.
        rel_l1(Gate::Open, &mut before, &mut moved, &now)?;
    }
    Ok(ratios)
}

impl Batch {
    /// One uncached step.
    fn step(&mut self, model: &Dit, i: usize) -> Result<()> {
        model.evaluate(Gate::Open, &mut self.acts, &self.z, (&self.times, i), &self.labels)?;
        denoise(Gate::Open, &mut self.z, &self.acts.tokens, model.config().patch, self.schedule.updates[i])
    }
}

/// Not yet.
pub struct Recording;
