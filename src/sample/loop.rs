//! The loop: from noise to clip, step by step.

use std::ops::Range;

use super::batch::Batch;
use super::decide::Decider;
use super::keep::Kept;
use super::sampler::Sampler;
use super::{GateMode, Progress, Run, StepRecord, Watch};
use crate::cache::Policy;
use crate::device::Mark;
use crate::model::{Condition, Model};
use crate::{DType, Error, Result, Tensor};

/// A run under way.
pub(crate) struct Sampling<'m> {
    pub batch: Batch<'m>,
    pub kept: Option<Kept>,
    sampler: Sampler,
    decider: Decider,
    /// The decision of the step at hand, for the kernels: 1 computes, 0 skips. `u32 [1]`
    flag: Tensor,
    marks: Vec<Mark>,
    /// The type of the model's matrix operands.
    dtype: DType,
}

impl<'m> Sampling<'m> {
    /// A run of as many steps as `sampler` has, from `noise`, f32 [Z, F, C, H, W], Z the clips of `condition`.
    pub fn new(
        model: &'m dyn Model,
        condition: &Condition,
        noise: &[f32],
        sampler: Sampler,
        policy: Policy,
        mode: GateMode,
    ) -> Result<Sampling<'m>> {
        let (c, device, clips) = (model.config(), model.device(), condition.clips());
        // Guidance: the conditional half first, then the unconditional one, in one batch and under one decision.
        let condition = match sampler.schedule.guided() {
            true => condition.clone().then(model.unconditional(clips)),
            false => condition.clone(),
        };
        let batch = condition.clips();
        let times = sampler.schedule.times.iter().flat_map(|&t| std::iter::repeat_n(t, batch));
        let pass = model.begin(&condition, &times.collect::<Vec<_>>())?;
        let shape = [clips, c.frames, c.channels, c.height, c.width];
        let z = Tensor::from_f32(device, DType::F32, shape, noise)?;
        let mut batch = Batch::new(c.clone(), pass, z, policy.span, sampler.schedule.guidance)?;
        let kept = match policy.reuses() {
            true => Some(Kept::new(batch.ends().1, policy.stand_in)?),
            false => None,
        };
        let decider = Decider::new(policy, &batch, &sampler.schedule, mode)?;
        let flag = Tensor::from_u32(device, [1], &[1])?;
        Ok(Sampling { batch, kept, sampler, decider, flag, marks: vec![device.mark()], dtype: model.dtype() })
    }

    /// Some of the steps, in order.
    pub async fn run(&mut self, steps: Range<usize>, watch: &mut impl Watch) -> Result<()> {
        let Sampling { batch, kept, sampler, decider, flag, marks, .. } = self;
        for i in steps {
            // The clip, embedded and modulated for block 0: M. How far is it from the step before? d = Σ|M − M'| / Σ|M'|
            batch.approach(i, decider.signal())?;
            // acc = acc + f(d). Skip the blocks while acc < δ; otherwise compute them, and acc = 0.
            let decision = decider.decide(i, flag, batch).await?;
            let (computed, skipped) = decider.gates(decision, flag);
            batch.enter()?;
            if let Some(gate) = computed {
                // Run the blocks, and keep what they did: R = out − in.
                batch.span(gate, i)?;
                if let Some(kept) = kept {
                    kept.store(gate, batch)?;
                }
                decider.learn(gate, batch)?;
            }
            if let (Some(gate), Some(kept)) = (skipped, &mut *kept) {
                // Do it again: out = in + R.
                kept.stand_in(gate, batch, decider.past(i))?;
            }
            batch.head()?;
            watch.step(&sampler.moment(batch, decider, i)).await?;
            // Guidance, and the clip moves on to the next noise level.
            sampler.advance(batch, i)?;
            marks.push(batch.z.device().mark());
            watch.done(Progress { done: i + 1, decision }).await?;
        }
        Ok(())
    }

    /// Waits for the clips and the trace. Fails where a clip is not finite.
    pub async fn finish(self) -> Result<Run> {
        let times = self.sampler.schedule.times;
        let trace = self.decider.steps(times.len()).await?;
        let z = &self.batch.z;
        let clips = z.read_f32().await?;
        self.dtype.check_finite("the clip", &clips)?;
        let seconds = z.device().seconds(&self.marks).await?;
        let record = |((step, time), s)| StepRecord { time, step, ms: 1e3 * s };
        let steps = trace.into_iter().zip(times).zip(seconds).map(record).collect();
        let shape = z.shape().dims().try_into();
        let shape = shape.map_err(|_| Error::setting(format!("clips {}", z.shape()), "five dimensions"))?;
        Ok(Run { shape, clips, steps })
    }
}
