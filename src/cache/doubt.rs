//! When a run's decisions cannot be trusted: the cache had nothing to decide by.

use std::fmt;

use super::{Decision, Rule, Step};

/// Why the clip of a cached run may be far from the uncached one, whatever the threshold promised.
///
/// Each is said of a run that has ended, by [`doubts`]. None is an error: the clip is what was asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Doubt {
    /// Of the distances that counted, more than three in four were rescaled to 0 or less, so that the sum hardly moved and
    /// the threshold decided next to nothing. The coefficients are not this model's.
    Unmoved {
        /// How many were.
        zero: usize,
        /// How many there are.
        of: usize,
    },
    /// Three or more of the distances that counted, and more than a quarter, lie outside the range that the coefficients
    /// were fitted on.
    OutOfRange {
        /// How many lie outside.
        outside: usize,
        /// How many there are.
        of: usize,
        /// The range.
        range: [f64; 2],
    },
    /// No step was computed but those that the rule forces, and at least five were skipped.
    OnlyForced {
        /// How many steps computed.
        computed: usize,
        /// How many steps the run has.
        of: usize,
    },
}

/// What to doubt about a run that `rule` decided and that left this trace.
pub fn doubts(rule: &Rule, trace: &[Step]) -> Vec<Doubt> {
    /// Runs of a few steps are no evidence.
    const FEW: usize = 3;
    const FEW_SKIPS: usize = 5;
    let mut doubts = vec![];
    let count = |decision| trace.iter().filter(|step| step.decision == decision).count();
    let (skipped, forced) = (count(Decision::Skipped), count(Decision::Forced));
    if let Rule::Threshold(rule) = rule {
        let counted = trace.iter().filter(|step| step.decision != Decision::Forced);
        let distances: Vec<f64> = counted.clone().filter_map(|step| step.distance).collect();
        let of = distances.len();
        let zero =
            counted.filter_map(|step| step.rescaled).filter(|f| rule.negative.apply(*f) <= 0.0).count();
        if skipped > 0 && 4 * zero > 3 * of {
            doubts.push(Doubt::Unmoved { zero, of });
        }
        if let Some(range @ [low, high]) = rule.range {
            let outside = distances.iter().filter(|d| !(low..=high).contains(d)).count();
            if outside >= FEW && 4 * outside > of {
                doubts.push(Doubt::OutOfRange { outside, of, range });
            }
        }
    }
    if doubts.is_empty() && skipped >= FEW_SKIPS && count(Decision::Computed) == 0 && forced > 0 {
        doubts.push(Doubt::OnlyForced { computed: forced, of: trace.len() });
    }
    doubts
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Doubt::Unmoved { zero, of } => write!(
                f,
                "the coefficients rescaled {zero} of {of} distances to 0, which decide nothing: they are not this model's"
            ),
            Doubt::OutOfRange { outside, of, range: [low, high] } => write!(
                f,
                "{outside} of {of} distances lie outside {low:.4} to {high:.4}, where the coefficients were fitted"
            ),
            Doubt::OnlyForced { computed, of } => write!(
                f,
                "only steps that no threshold can skip were computed, {computed} of {of}; a smaller one would decide"
            ),
        }
    }
}
