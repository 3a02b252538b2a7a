//! What the measuring rules look at, measured on the device, and decided there.

use super::Batch;
use crate::cache::{Decision, Indicator, Step, TeaCache, wiener};
use crate::device::Gate;
use crate::model::Dit;
use crate::ops::{
    DECISION, EasySums, PARTIALS, TRACE_COLUMNS, TeaStep, axpby, easy_distance, rel_l1, residual_distance,
    spectral_filter, tea_gate,
};
use crate::{DType, Device, Error, Result, Tensor};

/// A rule, and what it keeps on the device to decide with. It belongs to one run, never to the model.
pub struct Gauge {
    pub rule: TeaCache,
    sensor: Sensor,
    /// What was measured at this step, as sums whose quotient is the distance. f32 [P, 2]
    partials: Tensor,
    /// The rule's own, from step to step. f32 [2]
    state: Tensor,
}

/// What is kept of earlier steps to compare with, for each [`Indicator`].
#[allow(clippy::large_enum_variant)] // There is one in a run.
enum Sensor {
    /// `Acts::signal` holds the step before until it is overwritten.
    Signal,
    Filtered {
        /// Filters of all steps for the axes of columns, rows and frames, f32 [S, n], and the axes' strides.
        axes: Vec<(Tensor, usize)>,
        scratch: [Tensor; 2],
        before: Tensor,
    },
    /// What block 0 added on the last computed step.
    FirstBlock { kept: Tensor },
    Output {
        /// The clip a step ago.
        seen: Tensor,
        /// The clip and the output of the last computed step.
        last: [Tensor; 2],
        sums: EasySums,
    },
}

impl Gauge {
    /// For one run.
    pub fn new(model: &Dit, rule: &TeaCache, batch: &Batch) -> Result<Gauge> {
        let (c, device) = (model.config(), model.device());
        let Batch { schedule, z, acts: a, .. } = batch;
        let zeros = |like: &Tensor| Tensor::zeros(device, DType::F32, *like.shape());
        let sums = |n: usize| Tensor::zeros(device, DType::F32, [n, 2]);
        let sensor = match rule.indicator {
            Indicator::Signal => Sensor::Signal,
            Indicator::FilteredSignal => {
                let (down, across) = (c.height / c.patch, c.width / c.patch);
                let lengths = [(across, c.dim), (down, across * c.dim), (c.frames, down * across * c.dim)];
                let axis = |(n, stride): (usize, usize)| {
                    let all = schedule.scales.iter().flat_map(|&scale| wiener(n, scale));
                    let all: Vec<f32> = all.map(|x| x as f32).collect();
                    Ok((Tensor::from_f32(device, DType::F32, [schedule.scales.len(), n], &all)?, stride))
                };
                Sensor::Filtered {
                    axes: lengths.into_iter().map(axis).collect::<Result<_>>()?,
                    scratch: [zeros(&a.signal)?, zeros(&a.signal)?],
                    before: zeros(&a.signal)?,
                }
            }
            Indicator::FirstBlock if c.depth < 2 => {
                return Err(Error::setting("a first-block cache", "a model of at least two blocks"));
            }
            Indicator::FirstBlock => Sensor::FirstBlock { kept: zeros(&a.first)? },
            Indicator::Output => Sensor::Output {
                seen: zeros(z)?,
                last: [zeros(z)?, zeros(z)?],
                sums: EasySums {
                    moved: sums(PARTIALS)?,
                    inputs: sums(PARTIALS)?,
                    outputs: sums(PARTIALS)?,
                    sizes: sums(PARTIALS)?,
                },
            },
        };
        let pairs = if rule.indicator == Indicator::Output { 1 } else { PARTIALS };
        let state = Tensor::zeros(device, DType::F32, [2])?;
        Ok(Gauge { rule: rule.clone(), sensor, partials: sums(pairs)?, state })
    }

    /// Where the model's probe puts how far its signal moved, if that is what the rule asks.
    pub fn signal(&mut self) -> Option<&mut Tensor> {
        match self.sensor {
            Sensor::Signal => Some(&mut self.partials),
            _ => None,
        }
    }

    /// Measures step `index` and decides it: writes the flag, and the step's row of the trace.
    pub fn decide(
        &mut self,
        index: usize,
        (flag, trace): (&mut Tensor, &mut Tensor),
        Batch { acts: a, z, .. }: &Batch,
    ) -> Result<()> {
        let (always, partials) = (Gate::Open, &mut self.partials);
        match &mut self.sensor {
            Sensor::Signal => {}
            Sensor::Filtered { axes, scratch: [x, y], before } => {
                let [columns, rows, frames] = &axes[..] else { unreachable!("a grid has three axes") };
                spectral_filter(always, x, &a.signal, (&columns.0, index), columns.1)?;
                spectral_filter(always, y, x, (&rows.0, index), rows.1)?;
                spectral_filter(always, x, y, (&frames.0, index), frames.1)?;
                rel_l1(always, before, partials, x)?;
            }
            Sensor::FirstBlock { kept } => residual_distance(always, partials, &a.first, &a.stack_in, kept)?,
            Sensor::Output { seen, sums, .. } => {
                rel_l1(always, seen, &mut sums.moved, z)?;
                easy_distance(always, partials, sums)?;
            }
        }
        let rule = self.rule.on_device();
        let step = TeaStep { rule: &rule, index, forced: self.rule.forced(index) };
        tea_gate(always, flag, &mut self.state, trace, &self.partials, step)?;
        match &mut self.sensor {
            Sensor::FirstBlock { kept } => {
                axpby(Gate::If(flag), kept, (1.0, Some(&a.first)), (-1.0, &a.stack_in))
            }
            _ => Ok(()),
        }
    }

    /// A computed step has made `v` from `z`: the model's prediction from the clip, where that is what is measured.
    pub fn learn(&mut self, gate: Gate<'_>, z: &Tensor, v: &Tensor) -> Result<()> {
        if let Sensor::Output { last: [input, output], sums, .. } = &mut self.sensor {
            rel_l1(gate, input, &mut sums.inputs, z)?;
            rel_l1(gate, output, &mut sums.outputs, v)?;
            // Once more, now that it has moved on: not how far it is from itself, but how large it is.
            rel_l1(gate, output, &mut sums.sizes, v)?;
        }
        Ok(())
    }

    /// The flag in the policy's words.
    pub async fn read(&self, index: usize, flag: &Tensor) -> Result<Decision> {
        Ok(self.decision(index, flag.read().await? != [0; 4]))
    }

    fn decision(&self, index: usize, computes: bool) -> Decision {
        match (self.rule.forced(index), computes) {
            (true, _) => Decision::Forced,
            (_, true) => Decision::Computed,
            (_, false) => Decision::Skipped,
        }
    }

    /// The device's trace in the policy's words.
    pub fn steps(&self, trace: &[f32]) -> Vec<Step> {
        trace.chunks_exact(TRACE_COLUMNS).enumerate().map(|(i, row)| self.step(i, row)).collect()
    }

    fn step(&self, index: usize, row: &[f32]) -> Step {
        // A distance that could be measured is reported, also where it is not a number.
        let number = |x: f32| Some(f64::from(x)).filter(|x| !x.is_nan());
        Step {
            decision: self.decision(index, row[DECISION] != 0.0),
            distance: (index >= self.rule.indicator.steps_before()).then(|| f64::from(row[0])),
            rescaled: number(row[1]),
            accumulated: f64::from(row[2]),
        }
    }
}

/// A trace for the device: decisions that are known already, or room for those that are not. f32 [S, 4]
pub fn trace(device: &Device, steps: usize, known: &[Step]) -> Result<Tensor> {
    let mut rows = vec![0.0; steps * TRACE_COLUMNS];
    for (row, step) in rows.chunks_exact_mut(TRACE_COLUMNS).zip(known) {
        row[DECISION] = f32::from(u8::from(step.decision.computes()));
    }
    Tensor::from_f32(device, DType::F32, [steps, TRACE_COLUMNS], &rows)
}
