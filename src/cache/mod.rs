//! Which steps of a generation run the transformer's blocks, and which reuse the last residual.
//!
//! A [`Policy`] is four values: what is measured at each step, the rule that decides from it, the span of the model that
//! a skipped step leaves out, and what stands in for that span. [`Spec`] makes the published ones from their names; a
//! policy of one's own is any other four values.
//!
//! A policy is pure: numbers in, decisions out. It knows no tensors and no device, so a recorded list of distances can
//! be replayed through it at any time.
//!
//! ```
//! use steep::cache::{Given, Spec, letters};
//!
//! let spec: Spec = "tea:0.2:open-sora-1.2".parse()?;
//! let distances = [None, Some(0.06), Some(0.05), Some(0.04), Some(0.09)];
//! let mut policy = spec.policy(distances.len(), &Given::default())?;
//! assert_eq!(letters(&policy.replay(&distances)), "FSCSF");
//! # Ok::<(), steep::Error>(())
//! ```

mod coefficients;
mod doubt;
mod path;
mod policies;
mod spec;
mod teacache;

use std::fmt;

pub use crate::ops::Negative;
pub use coefficients::{IDENTITY, SETS, Set, find};
pub use doubt::{Doubt, doubts};
pub use path::shortest;
pub use policies::{Entry, POLICIES, POWER, wiener};
pub use spec::{Given, Limits, MOST_STEPS, Polynomial, Spec};
pub use teacache::TeaCache;

/// What happens to the transformer's blocks on one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// They run because of the step's place (TeaCache's first and last steps), whatever was measured.
    Forced,
    /// They run.
    Computed,
    /// They do not run; the residual of the last step that ran them is added instead.
    Skipped,
}

impl Decision {
    /// `F`, `C` or `S`, as traces are written.
    pub fn letter(self) -> char {
        match self {
            Decision::Forced => 'F',
            Decision::Computed => 'C',
            Decision::Skipped => 'S',
        }
    }

    /// Whether the blocks run.
    pub fn computes(self) -> bool {
        self != Decision::Skipped
    }
}

/// One step of a trace: the decision, and the numbers it was made from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// What was decided.
    pub decision: Decision,
    /// The measured distance d, as it was handed in.
    pub distance: Option<f64>,
    /// f(d), before any treatment of negative values. None where it is not finite or was not asked for.
    pub rescaled: Option<f64>,
    /// The sum that was compared with the threshold, before the reset. 0 where nothing was compared.
    pub accumulated: f64,
}

impl Step {
    /// A step on which nothing was rescaled and nothing compared.
    pub fn placed(decision: Decision, distance: Option<f64>) -> Self {
        Step { decision, distance, rescaled: None, accumulated: 0.0 }
    }
}

/// The decisions of a trace as a string of `F`, `C` and `S`.
pub fn letters(steps: &[Step]) -> String {
    steps.iter().map(|step| step.decision.letter()).collect()
}

/// What happens at each step of a run, as four values. It serves one run.
#[derive(Debug)]
pub struct Policy {
    /// What is measured at each step before it is decided.
    pub measure: Measure,
    /// How the step is decided from it.
    pub rule: Rule,
    /// What a skipped step leaves out.
    pub span: Span,
    /// What stands in for it.
    pub stand_in: StandIn,
}

/// What is measured at each step; see [`sample`](mod@crate::sample) for how it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Nothing: the rule needs no distances.
    Nothing,
    /// How far block 0's modulated input is from the step before (TeaCache).
    Signal,
    /// The same after a filter that keeps, at each time, what is signal at that time (SeaCache).
    FilteredSignal,
    /// How far what block 0 adds is from what it added on the last computed step (First-Block Cache).
    FirstBlock,
    /// How much of the model's output must have changed since the step before, given how far the clip has moved and
    /// how much the output changed for each move between the last two computed steps (EasyCache).
    Output,
}

impl Measure {
    /// How many computed steps it takes before there is anything to measure.
    pub fn steps_before(self) -> usize {
        match self {
            Measure::Nothing => 0,
            Measure::Signal | Measure::FilteredSignal | Measure::FirstBlock => 1,
            Measure::Output => 2,
        }
    }

    /// Whether the same distances are measured whatever was decided before, but for what that does to the clip: then
    /// recorded ones can be replayed. The others are of this step and the last computed one.
    pub fn replays(self) -> bool {
        matches!(self, Measure::Nothing | Measure::Signal | Measure::FilteredSignal)
    }
}

/// How a step is decided.
pub enum Rule {
    /// Decisions that are known before the first step, one for each step.
    Schedule(Vec<Step>),
    /// Measured distances against a threshold; the [`tea_gate`](crate::ops::tea_gate()) kernel decides on the device.
    Threshold(TeaCache),
    /// Any rule on measured distances, which the host decides: the step's index from 0 and its distance in, the step
    /// out. It needs the host's gate. Steps are asked for in order, once each; step 0 begins a new run.
    Host(Box<dyn FnMut(usize, Option<f64>) -> Step>),
}

impl Rule {
    /// The schedule that computes the steps for which `computes` says so, and skips the others.
    pub fn schedule(computes: impl IntoIterator<Item = bool>) -> Rule {
        let step = |computes| match computes {
            true => Step::placed(Decision::Computed, None),
            false => Step::placed(Decision::Skipped, None),
        };
        Rule::Schedule(computes.into_iter().map(step).collect())
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rule::Schedule(steps) => f.debug_tuple("Schedule").field(&letters(steps)).finish(),
            Rule::Threshold(rule) => f.debug_tuple("Threshold").field(rule).finish(),
            Rule::Host(_) => f.write_str("Host"),
        }
    }
}

/// What a skipped step leaves out. Its residual is what it makes of its input, less that input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// All transformer blocks.
    Blocks,
    /// The blocks after the first, which always runs.
    OtherBlocks,
    /// The whole model, from the clip to the prediction.
    Model,
}

/// What a skipped step adds to the span's input in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StandIn {
    /// The residual R of the last computed step, as it was (TeaCache).
    Residual,
    /// The residual carried on by its last change. With R and R' those of the last two computed steps, s and s' steps
    /// ago,
    ///
    /// ```text
    /// R + (R − R')·s / (s' − s)
    /// ```
    ///
    /// This is the first order of TaylorSeer (arXiv 2503.06923), on what the whole span adds rather than layer by layer.
    /// Until two steps were computed, R is taken as it was.
    Extrapolated,
}

impl Policy {
    /// Every one of `steps` steps computes.
    pub fn off(steps: usize) -> Policy {
        Policy {
            measure: Measure::Nothing,
            rule: Rule::schedule((0..steps).map(|_| true)),
            span: Span::Blocks,
            stand_in: StandIn::Residual,
        }
    }

    /// A threshold on `measure` that skips the longest span which the measurement allows, and reuses its residual.
    pub fn threshold(measure: Measure, rule: TeaCache) -> Policy {
        let span = match measure {
            Measure::Nothing | Measure::Signal | Measure::FilteredSignal => Span::Blocks,
            Measure::FirstBlock => Span::OtherBlocks,
            Measure::Output => Span::Model,
        };
        Policy { measure, rule: Rule::Threshold(rule), span, stand_in: StandIn::Residual }
    }

    /// Whether any step may be skipped. Where none may, no residual is kept.
    pub fn reuses(&self) -> bool {
        match &self.rule {
            Rule::Schedule(steps) => steps.iter().any(|step| !step.decision.computes()),
            Rule::Threshold(rule) => rule.threshold > 0.0,
            Rule::Host(_) => true,
        }
    }

    /// How many residuals of all tokens are kept for skipped steps. One of the whole model is as small as a clip, and not counted.
    pub fn residuals(&self) -> usize {
        match self.stand_in {
            _ if !self.reuses() || self.span == Span::Model => 0,
            StandIn::Residual => 1,
            StandIn::Extrapolated => 2,
        }
    }

    /// How many signals of all tokens are kept to measure with, beside the one that the model itself makes.
    pub fn signals(&self) -> usize {
        match (&self.rule, self.measure) {
            (Rule::Schedule(_), _) | (_, Measure::Nothing | Measure::Signal | Measure::Output) => 0,
            (_, Measure::FirstBlock) => 1,
            (_, Measure::FilteredSignal) => 3,
        }
    }

    /// The trace that the policy makes of recorded distances, one for each step of a run that begins with this call.
    ///
    /// This is the specification of what a run decides. A step past the end of a schedule computes.
    pub fn replay(&mut self, distances: &[Option<f64>]) -> Vec<Step> {
        let past = Step::placed(Decision::Computed, None);
        let rule = &mut self.rule;
        let decide = |(i, &distance): (usize, &Option<f64>)| match rule {
            Rule::Schedule(steps) => Step { distance, ..steps.get(i).copied().unwrap_or(past) },
            Rule::Threshold(rule) => rule.decide(i, distance),
            Rule::Host(rule) => rule(i, distance),
        };
        distances.iter().enumerate().map(decide).collect()
    }
}
