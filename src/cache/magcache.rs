//! The rule of MagCache (arXiv 2506.09045; code in github.com/Zehong-Ma/MagCache).
//!
//! Residuals of neighbouring steps point the same way and shrink slowly. With γ_t the mean over tokens of
//! ‖R_t‖ / ‖R_{t−1}‖, measured once ([`magnitudes`](crate::sample::magnitudes)), what reuse costs is known beforehand:
//!
//! ```text
//! ratio = ratio·γ_t;   error = error + |1 − ratio|
//! skip if error < δ and at most K in a row;   otherwise compute, and let ratio = 1, error = 0
//! ```

use super::{Decision, OldPolicy, Step};

/// `mag:δ`: a schedule from a table of residual norms. Nothing is measured while it runs.
#[derive(Debug, Clone, PartialEq)]
pub struct MagCache {
    /// δ: a step is skipped only if the accumulated error is strictly less.
    pub threshold: f64,
    /// K: how many steps in a row may be skipped.
    pub max_skips: usize,
    /// How many steps at the start always compute: a fifth of them unless changed, as in the paper.
    pub start: usize,
    /// The step from which on all compute. None unless changed.
    pub end: usize,
    ratios: Vec<f64>,
    ratio: f64,
    error: f64,
    skipped: usize,
}

impl MagCache {
    /// The rule for `steps` steps. `ratios` are γ from step 0 on (the first has no step before it, and counts for
    /// nothing); where they are of a run of another length, the nearest in time is taken.
    pub fn new(threshold: f64, ratios: &[f64], steps: usize) -> Self {
        let last = ratios.len().saturating_sub(1);
        let nearest = |i: usize| match steps {
            1 => last,
            // Halves go to the even neighbour, as numpy's `round` has it.
            _ => (i as f64 * last as f64 / (steps - 1) as f64).round_ties_even() as usize,
        };
        MagCache {
            threshold,
            max_skips: 2,
            start: steps / 5,
            end: usize::MAX,
            ratios: (0..steps).map(|i| ratios.get(nearest(i)).copied().unwrap_or(f64::NAN)).collect(),
            ratio: 1.0,
            error: 0.0,
            skipped: 0,
        }
    }

    fn restart(&mut self) {
        (self.ratio, self.error, self.skipped) = (1.0, 0.0, 0);
    }
}

impl OldPolicy for MagCache {
    fn decide(&mut self, step: usize, distance: Option<f64>) -> Step {
        if step == 0 {
            self.restart();
        }
        // Step 0 has nothing to reuse, however few steps there are.
        if step < self.start.max(1) || step >= self.end {
            self.restart();
            return Step::placed(Decision::Forced, distance);
        }
        let ratio = self.ratios.get(step).copied().unwrap_or(f64::NAN);
        self.ratio *= ratio;
        self.error += (1.0 - self.ratio).abs();
        self.skipped += 1;
        let accumulated = self.error;
        let skips = accumulated < self.threshold && self.skipped <= self.max_skips;
        if !skips {
            self.restart();
        }
        let decision = if skips { Decision::Skipped } else { Decision::Computed };
        let finite = |x: f64| if x.is_finite() { x } else { 0.0 };
        Step { decision, distance, rescaled: Some(ratio), accumulated: finite(accumulated) }
    }

    fn reuses(&self) -> bool {
        self.threshold > 0.0
    }
}
