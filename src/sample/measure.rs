//! What a policy measures, on the device.

use super::batch::Batch;
use super::decide::decision;
use super::sampler::Schedule;
use crate::cache::{Measure, Step, TeaCache, wiener};
use crate::device::Gate;
use crate::ops::{
    DECISION, EasySums, PARTIALS, TRACE_COLUMNS, TeaStep, axpby, easy_distance, rel_l1, residual_distance,
    spectral_filter, tea_gate,
};
use crate::{DType, Result, Tensor};

/// A rule, and what it keeps on the device to decide with. It belongs to one run, never to the model.
pub(crate) struct Gauge {
    rule: TeaCache,
    /// How many computed steps it takes before there is a distance.
    steps_before: usize,
    sensor: Sensor,
    /// What was measured at this step, as sums whose quotient is the distance. f32 [P, 2]
    partials: Tensor,
    /// The rule's own, from step to step. f32 [2]
    state: Tensor,
}

/// What is kept of earlier steps to compare with, for each [`Measure`].
#[allow(clippy::large_enum_variant)] // There is one in a run.
enum Sensor {
    /// The pass's `signal` holds the step before until it is overwritten.
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
    pub fn new(measure: Measure, rule: TeaCache, batch: &Batch<'_>, schedule: &Schedule) -> Result<Gauge> {
        let (c, device) = (&batch.config, batch.z.device());
        let streams = batch.pass.streams();
        let zeros = |like: &Tensor| Tensor::zeros(device, DType::F32, *like.shape());
        let sums = |n: usize| Tensor::zeros(device, DType::F32, [n, 2]);
        let sensor = match measure {
            Measure::Nothing | Measure::Signal => Sensor::Signal,
            Measure::FilteredSignal => {
                let (down, across) = (c.height / c.patch, c.width / c.patch);
                let lengths = [(across, c.dim), (down, across * c.dim), (c.frames, down * across * c.dim)];
                let axis = |(n, stride): (usize, usize)| {
                    let all = schedule.scales.iter().flat_map(|&scale| wiener(n, scale));
                    let all: Vec<f32> = all.map(|x| x as f32).collect();
                    Ok((Tensor::from_f32(device, DType::F32, [schedule.scales.len(), n], &all)?, stride))
                };
                Sensor::Filtered {
                    axes: lengths.into_iter().map(axis).collect::<Result<_>>()?,
                    scratch: [zeros(&streams.signal)?, zeros(&streams.signal)?],
                    before: zeros(&streams.signal)?,
                }
            }
            Measure::FirstBlock => Sensor::FirstBlock { kept: zeros(&streams.first)? },
            Measure::Output => Sensor::Output {
                seen: zeros(&batch.z)?,
                last: [zeros(&batch.z)?, zeros(&batch.z)?],
                sums: EasySums {
                    moved: sums(PARTIALS)?,
                    inputs: sums(PARTIALS)?,
                    outputs: sums(PARTIALS)?,
                    sizes: sums(PARTIALS)?,
                },
            },
        };
        let pairs = if measure == Measure::Output { 1 } else { PARTIALS };
        let state = Tensor::zeros(device, DType::F32, [2])?;
        Ok(Gauge { rule, steps_before: measure.steps_before(), sensor, partials: sums(pairs)?, state })
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
        flag: &mut Tensor,
        trace: &mut Tensor,
        batch: &Batch<'_>,
    ) -> Result<()> {
        let (always, partials, streams) = (Gate::Open, &mut self.partials, batch.pass.streams());
        match &mut self.sensor {
            Sensor::Signal => {}
            Sensor::Filtered { axes, scratch: [x, y], before } => {
                let [columns, rows, frames] = &axes[..] else { unreachable!("a grid has three axes") };
                spectral_filter(always, x, &streams.signal, (&columns.0, index), columns.1)?;
                spectral_filter(always, y, x, (&rows.0, index), rows.1)?;
                spectral_filter(always, x, y, (&frames.0, index), frames.1)?;
                rel_l1(always, before, partials, x)?;
            }
            Sensor::FirstBlock { kept } => {
                residual_distance(always, partials, &streams.first, &streams.stack_in, kept)?
            }
            Sensor::Output { seen, sums, .. } => {
                rel_l1(always, seen, &mut sums.moved, &batch.z)?;
                easy_distance(always, partials, sums)?;
            }
        }
        let (rule, forced) = (self.rule.on_device(), self.rule.forced(index));
        let step = TeaStep { rule: &rule, index, forced };
        tea_gate(always, flag, &mut self.state, trace, &self.partials, step)?;
        match &mut self.sensor {
            Sensor::FirstBlock { kept } => {
                axpby(Gate::If(flag), kept, (1.0, Some(&streams.first)), (-1.0, &streams.stack_in))
            }
            _ => Ok(()),
        }
    }

    /// A computed step has made a prediction from the clip, where that is what is measured.
    pub fn learn(&mut self, gate: Gate<'_>, batch: &mut Batch<'_>) -> Result<()> {
        if let Sensor::Output { last: [input, output], sums, .. } = &mut self.sensor {
            let (z, v) = batch.ends();
            rel_l1(gate, input, &mut sums.inputs, z)?;
            rel_l1(gate, output, &mut sums.outputs, v)?;
            // Once more, now that it has moved on: not how far it is from itself, but how large it is.
            rel_l1(gate, output, &mut sums.sizes, v)?;
        }
        Ok(())
    }

    /// The device's trace in the policy's words.
    pub fn steps(&self, trace: &[f32]) -> Vec<Step> {
        trace.chunks_exact(TRACE_COLUMNS).enumerate().map(|(i, row)| self.step(i, row)).collect()
    }

    /// A row of it.
    pub fn step(&self, index: usize, row: &[f32]) -> Step {
        // A distance that could be measured is reported, also where it is not a number.
        let number = |x: f32| Some(f64::from(x)).filter(|x| !x.is_nan());
        Step {
            decision: decision(&self.rule, index, row[DECISION] != 0.0),
            distance: (index >= self.steps_before).then(|| f64::from(row[0])),
            rescaled: number(row[1]),
            accumulated: f64::from(row[2]),
        }
    }
}
