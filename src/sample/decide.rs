//! Who decides a step.

use super::batch::Batch;
use super::measure::Gauge;
use super::{GateMode, Schedule};
use crate::cache::{Decision, IDENTITY, Measure, Policy, Rule, Span, Step, TeaCache};
use crate::device::Gate;
use crate::ops::{DECISION, TRACE_COLUMNS};
use crate::{DType, Error, Result, Tensor};

/// A policy's rule at work.
pub(crate) struct Decider {
    rule: Rule,
    gauge: Option<Gauge>,
    mode: GateMode,
    /// Rows that the `tea_gate` kernel writes, or decisions that are known to the host. f32 [S, 4]
    trace: Tensor,
    /// What the host has decided.
    decided: Vec<Step>,
}

impl Decider {
    pub fn new(policy: Policy, batch: &Batch<'_>, schedule: &Schedule, mode: GateMode) -> Result<Decider> {
        let (steps, device) = (schedule.times.len(), batch.z.device().clone());
        fits(&policy, steps, mode)?;
        let gauge = match &policy.rule {
            Rule::Schedule(_) => None,
            Rule::Threshold(rule) => Some(Gauge::new(policy.measure, rule.clone(), batch, schedule)?),
            // A gate that never skips, for its division.
            Rule::Host(_) if policy.measure != Measure::Nothing => {
                Some(Gauge::new(policy.measure, TeaCache::new(0.0, IDENTITY, steps), batch, schedule)?)
            }
            Rule::Host(_) => None,
        };
        let decided = match &policy.rule {
            Rule::Schedule(steps) => steps.clone(),
            Rule::Threshold(_) | Rule::Host(_) => vec![],
        };
        let trace = Tensor::from_f32(&device, DType::F32, [steps, TRACE_COLUMNS], &rows(steps, &decided))?;
        Ok(Decider { rule: policy.rule, gauge, mode, trace, decided })
    }

    /// Where the model's probe puts how far its signal moved, if that is what is measured.
    pub fn signal(&mut self) -> Option<&mut Tensor> {
        self.gauge.as_mut().and_then(Gauge::signal)
    }

    /// Decides step `i`. None where only the device knows.
    pub async fn decide(
        &mut self,
        i: usize,
        flag: &mut Tensor,
        batch: &Batch<'_>,
    ) -> Result<Option<Decision>> {
        if let Some(gauge) = &mut self.gauge {
            gauge.decide(i, flag, &mut self.trace, batch)?;
        }
        match &mut self.rule {
            Rule::Schedule(steps) => Ok(steps.get(i).map(|step| step.decision)),
            Rule::Threshold(rule) => match self.mode {
                GateMode::Device => Ok(None),
                GateMode::Host => Ok(Some(decision(rule, i, flag.read().await? != [0; 4]))),
            },
            Rule::Host(rule) => {
                let distance = match &self.gauge {
                    Some(gauge) => gauge.step(i, &row(&self.trace, i).await?).distance,
                    None => None,
                };
                let step = rule(i, distance);
                self.decided.truncate(i);
                self.decided.push(step);
                let steps = self.trace.shape().dims()[0];
                self.trace.write_f32(&rows(steps, &self.decided))?;
                Ok(Some(step.decision))
            }
        }
    }

    /// What runs on a computed step, and what on a skipped one. What the host knows, it enqueues or leaves out; what
    /// only the device knows, the kernels decide.
    pub fn gates<'f>(
        &self,
        decision: Option<Decision>,
        flag: &'f Tensor,
    ) -> (Option<Gate<'f>>, Option<Gate<'f>>) {
        match decision {
            None => (Some(Gate::If(flag)), Some(Gate::Unless(flag))),
            Some(Decision::Skipped) => (None, Some(Gate::Open)),
            Some(_) => (Some(Gate::Open), None),
        }
    }

    /// A computed step tells what later distances are measured from.
    pub fn learn(&mut self, gate: Gate<'_>, batch: &mut Batch<'_>) -> Result<()> {
        match &mut self.gauge {
            Some(gauge) => gauge.learn(gate, batch),
            None => Ok(()),
        }
    }

    /// The trace up to step `i`, for what stands in for a skipped step.
    pub fn past(&self, i: usize) -> (&Tensor, usize) {
        (&self.trace, i)
    }

    /// The first steps' decisions and the numbers behind them. Waits for the device where it decided.
    pub async fn steps(&self, first: usize) -> Result<Vec<Step>> {
        let mut steps = match (&self.rule, &self.gauge) {
            (Rule::Threshold(_), Some(gauge)) => gauge.steps(&self.trace.read_f32().await?),
            _ => self.decided.clone(),
        };
        steps.truncate(first);
        Ok(steps)
    }
}

/// Not every measure can be taken where every span begins.
fn fits(policy: &Policy, steps: usize, mode: GateMode) -> Result<()> {
    let Policy { measure, rule, span, .. } = policy;
    let measurable = match (measure, span) {
        (Measure::Nothing, _) => true,
        (Measure::Output, span) => *span == Span::Model,
        (Measure::FirstBlock, span) => *span == Span::OtherBlocks,
        (Measure::Signal | Measure::FilteredSignal, span) => *span != Span::Model,
    };
    if !measurable {
        let what = format!("a policy that measures {measure:?} and skips {span:?}");
        return Err(Error::setting(
            what,
            "Output with Model, FirstBlock with OtherBlocks, or another with blocks",
        ));
    }
    match rule {
        Rule::Schedule(known) if known.len() != steps => {
            Err(Error::setting(format!("a schedule of {} steps", known.len()), format!("{steps}")))
        }
        Rule::Threshold(_) if *measure == Measure::Nothing => {
            Err(Error::setting("a threshold on nothing", "a measure"))
        }
        Rule::Host(_) if mode == GateMode::Device => {
            Err(Error::setting("a rule of the host's with the device's gate", "the host's gate"))
        }
        _ => Ok(()),
    }
}

async fn row(trace: &Tensor, i: usize) -> Result<Vec<f32>> {
    let all = trace.read_f32().await?;
    Ok(all[i * TRACE_COLUMNS..(i + 1) * TRACE_COLUMNS].to_vec())
}

/// A trace of decisions that are known, and room for those that are not.
fn rows(steps: usize, known: &[Step]) -> Vec<f32> {
    let mut rows = vec![0.0; steps * TRACE_COLUMNS];
    for (row, step) in rows.chunks_exact_mut(TRACE_COLUMNS).zip(known) {
        row[DECISION] = f32::from(u8::from(step.decision.computes()));
    }
    rows
}

/// The flag in the policy's words.
pub(super) fn decision(rule: &TeaCache, i: usize, computes: bool) -> Decision {
    match (rule.forced(i), computes) {
        (true, _) => Decision::Forced,
        (_, true) => Decision::Computed,
        (_, false) => Decision::Skipped,
    }
}
