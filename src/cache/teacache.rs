//! The rule of TeaCache (Liu et al., arXiv 2411.19108; code in github.com/ali-vilab/TeaCache).
//!
//! With d the relative L1 distance between block 0's modulated inputs on this step and the step before,
//!
//! ```text
//! f(d) = c4·d⁴ + c3·d³ + c2·d² + c1·d + c0
//! acc  = acc + f(d);   skip if acc < δ;   otherwise compute and let acc = 0
//! ```

use super::{Decision, Step};
use crate::ops::{Negative, Threshold};

/// The rule of `tea:δ`: skip while the rescaled distances since the last computed step stay below a threshold.
///
/// All rules that compare measured distances with a threshold are of this form: they differ in what is measured, and in
/// whether it adds up.
///
/// One value serves one run, and one guidance branch where the branches decide separately.
#[derive(Debug, Clone, PartialEq)]
pub struct TeaCache {
    /// Whether distances add up since the last computed step, or count one by one.
    pub accumulates: bool,
    /// δ. A step is skipped only if the sum is strictly less. Zero, a negative number or NaN turns
    /// caching off: every step computes, whatever the polynomial says.
    pub threshold: f64,
    /// c4, c3, c2, c1, c0: highest power first.
    pub coefficients: [f64; 5],
    /// What to do with f(d) < 0.
    pub negative: Negative,
    /// The distances that the coefficients were fitted on, lowest and highest, where they are known.
    ///
    /// A polynomial says nothing outside them. A smaller distance counts as the lowest, a larger one computes. As with
    /// negative values, [`Negative::Raw`] does as the official code does, which knows no range.
    pub range: Option<[f64; 2]>,
    /// How many steps at the start always compute. 1 unless changed.
    pub warmup: usize,
    /// The step from which on all compute. None unless changed.
    pub end: usize,
    /// How many steps in a row may be skipped. Any number unless changed.
    pub max_skips: usize,
    /// Whether the last step always computes. True unless changed.
    pub force_last: bool,
    /// How many steps the run has.
    pub steps: usize,
    pub(super) accumulated: f64,
    /// Skipped steps since the last computed one.
    pub(super) skipped: usize,
    /// A computed step of this run has left a residual.
    pub(super) primed: bool,
}

impl TeaCache {
    /// The rule as most published models run it: the first and the last step forced, f clamped at 0.
    pub fn new(threshold: f64, coefficients: [f64; 5], steps: usize) -> Self {
        TeaCache {
            accumulates: true,
            threshold,
            coefficients,
            negative: Negative::default(),
            range: None,
            warmup: 1,
            end: usize::MAX,
            max_skips: usize::MAX,
            force_last: true,
            steps,
            accumulated: 0.0,
            skipped: 0,
            primed: false,
        }
    }

    /// Whether this step computes because of its place.
    pub fn forced(&self, step: usize) -> bool {
        let last = self.force_last && step + 1 >= self.steps;
        step < self.warmup || step >= self.end || last
    }

    /// The range that is heeded: all numbers where there is none, or none is wanted.
    pub fn limits(&self) -> [f64; 2] {
        self.range.filter(|_| self.negative != Negative::Raw).unwrap_or([f64::NEG_INFINITY, f64::INFINITY])
    }

    /// The part of the rule that decides on the device, from the distance that is measured there.
    pub fn on_device(&self) -> Threshold {
        let &TeaCache { threshold, coefficients, negative, accumulates, max_skips, .. } = self;
        Threshold { threshold, coefficients, negative, limits: self.limits(), accumulates, max_skips }
    }

    /// f(d) = (((c4·d + c3)·d + c2)·d + c1)·d + c0.
    pub fn rescale(&self, distance: f64) -> f64 {
        let [first, rest @ ..] = self.coefficients;
        rest.iter().fold(first, |sum, c| sum * distance + c)
    }

    /// Decides step `step` (from 0), given the distance that was measured there, if one was.
    ///
    /// Steps are asked for in order, once each; step 0 begins a new run.
    ///
    /// A distance that is missing, NaN, infinite or above the range, or whose f(d) is not finite, computes.
    /// Nothing else has to be dropped then: the sum restarts at 0, the step leaves a new residual, and
    /// what the next step is compared with moves on every step anyway.
    pub fn decide(&mut self, step: usize, distance: Option<f64>) -> Step {
        if step == 0 {
            self.accumulated = 0.0;
            self.skipped = 0;
            self.primed = false;
        }
        let forced = self.forced(step);
        // The test for a finite f comes before `apply`, which would clamp NaN to 0 and so skip.
        let [lowest, highest] = self.limits();
        let counted = distance.filter(|&d| !forced && d <= highest).map(|d| d.max(lowest));
        let rescaled = counted.map(|d| self.rescale(d)).filter(|f| f.is_finite());
        let sum = rescaled.map(|f| self.accumulated + self.negative.apply(f)).filter(|sum| sum.is_finite());
        let may_skip = self.primed && self.threshold > 0.0 && self.skipped < self.max_skips;
        let decision = match sum {
            _ if forced => Decision::Forced,
            Some(sum) if may_skip && sum < self.threshold => Decision::Skipped,
            _ => Decision::Computed,
        };
        let accumulated = sum.unwrap_or(0.0);
        self.accumulated = if decision.computes() || !self.accumulates { 0.0 } else { accumulated };
        self.skipped = if decision.computes() { 0 } else { self.skipped + 1 };
        self.primed = true;
        Step { decision, distance, rescaled, accumulated }
    }

    /// The trace of recorded distances, one for each step of a run that begins with this call.
    pub fn replay(&mut self, distances: &[Option<f64>]) -> Vec<Step> {
        distances.iter().enumerate().map(|(step, &distance)| self.decide(step, distance)).collect()
    }
}
