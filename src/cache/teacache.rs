//! The rule of TeaCache (Liu et al., arXiv 2411.19108; code in github.com/ali-vilab/TeaCache).
//!
//! With d the relative L1 distance between the indicators of this step and the step before,
//!
//! ```text
//! f(d) = c4·d⁴ + c3·d³ + c2·d² + c1·d + c0
//! acc  = acc + f(d);   skip if acc < δ;   otherwise compute and let acc = 0
//! ```

use super::{Decision, IDENTITY, Policy, Step};
use crate::ops::{Negative, Threshold};

/// What a rule wants to have measured at each step; see [`sample`](mod@crate::sample) for how it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Indicator {
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

impl Indicator {
    /// How many computed steps it takes before there is anything to measure.
    pub fn steps_before(self) -> usize {
        if self == Indicator::Output { 2 } else { 1 }
    }

    /// Whether the same distances are measured whatever was decided before, but for what that does to the clip: then
    /// recorded ones can be replayed. The others are of this step and the last computed one.
    pub fn replays(self) -> bool {
        matches!(self, Indicator::Signal | Indicator::FilteredSignal)
    }
}

/// `tea:δ`: skip while the rescaled distances since the last computed step stay below a threshold.
///
/// The rules that measure something are all of this form, so this one type holds them: they differ in what is
/// measured, and in whether it adds up. [`first_block`](Self::first_block), [`sea`](Self::sea) and
/// [`easy`](Self::easy) make the others.
///
/// One value serves one generation, and one guidance branch where the branches decide separately.
#[derive(Debug, Clone, PartialEq)]
pub struct TeaCache {
    /// What the distances are of.
    pub indicator: Indicator,
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
    /// How many steps the generation has.
    pub steps: usize,
    accumulated: f64,
    /// Skipped steps since the last computed one.
    skipped: usize,
    /// A computed step of this generation has left a residual.
    primed: bool,
}

impl TeaCache {
    /// The rule as most published models run it: the first and the last step forced, f clamped at 0.
    pub fn new(threshold: f64, coefficients: [f64; 5], steps: usize) -> Self {
        TeaCache {
            indicator: Indicator::Signal,
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

    /// `fb:δ`, First-Block Cache: the first block always runs; the others are skipped if what it added differs from
    /// what it added on the last computed step by less than δ, and what they added then is added again.
    ///
    /// Nothing accumulates, and only the first step is forced (github.com/chengzeyi/ParaAttention,
    /// `first_block_cache/utils.py`; the same in diffusers' `hooks/first_block_cache.py`).
    pub fn first_block(threshold: f64, steps: usize) -> Self {
        TeaCache {
            indicator: Indicator::FirstBlock,
            accumulates: false,
            force_last: false,
            ..TeaCache::new(threshold, IDENTITY, steps)
        }
    }

    /// `sea:δ`, SeaCache (arXiv 2602.18993): TeaCache's rule without a polynomial, on filtered indicators; see
    /// [`wiener`](super::wiener()) for the filter.
    pub fn sea(threshold: f64, steps: usize) -> Self {
        TeaCache { indicator: Indicator::FilteredSignal, ..TeaCache::new(threshold, IDENTITY, steps) }
    }

    /// `easy:δ`, EasyCache (arXiv 2507.02860): the distance is k·Σ|x − x'| / Σ|v|, with x and x' the clip now and a
    /// step ago, v the model's output on the last computed step, and
    ///
    /// ```text
    /// k = Σ|v − v"| / Σ|x − x"|     v", x": on the computed step before that one, both of their own step
    /// ```
    ///
    /// Kept is the model's output less its input, so that a skipped step runs nothing of the model.
    ///
    /// k takes two computed steps; the paper's runs compute the first 5 or 10 of 50
    /// (github.com/H-EmbodVis/EasyCache, HunyuanVideo and Wan 2.1), here a tenth of the steps.
    pub fn easy(threshold: f64, steps: usize) -> Self {
        TeaCache {
            indicator: Indicator::Output,
            warmup: steps.div_ceil(10).max(2),
            ..TeaCache::new(threshold, IDENTITY, steps)
        }
    }

    /// Whether this step computes because of its place.
    pub fn forced(&self, step: usize) -> bool {
        let last = self.force_last && step + 1 >= self.steps;
        let unmeasured = step > 0 && step < self.indicator.steps_before();
        step < self.warmup || unmeasured || step >= self.end || last
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
}

impl Policy for TeaCache {
    /// A distance that is missing, NaN, infinite or above the range, or whose f(d) is not finite, computes.
    ///
    /// Nothing else has to be dropped then: the sum restarts at 0, the step leaves a new residual, and
    /// the indicator it will be compared with moves on every step anyway.
    fn decide(&mut self, step: usize, distance: Option<f64>) -> Step {
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

    fn reuses(&self) -> bool {
        self.threshold > 0.0
    }

    fn tea(&self) -> Option<&TeaCache> {
        Some(self)
    }

    fn tea_mut(&mut self) -> Option<&mut TeaCache> {
        Some(self)
    }
}
