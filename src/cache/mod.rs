//! Which steps of a generation run the transformer's blocks, and which reuse the last residual.
//!
//! A policy is pure: numbers in, decision out. It knows no tensors and no device, so a recorded list
//! of distances can be replayed through it at any time.
//!
//! ```
//! use steep::cache::{Spec, letters, replay};
//!
//! let spec: Spec = "tea:0.2:open-sora-1.2".parse()?;
//! let distances = [None, Some(0.06), Some(0.05), Some(0.04), Some(0.09)];
//! let mut policy = spec.policy(distances.len())?;
//! assert_eq!(letters(&replay(&mut *policy, &distances)), "FSCSF");
//! # Ok::<(), steep::Error>(())
//! ```

mod coefficients;
mod magcache;
mod mask;
mod off;
mod path;
mod sea;
mod spec;
mod taylor;
mod teacache;
mod uniform;

pub use coefficients::{IDENTITY, SETS, Set, find};
pub use magcache::MagCache;
pub use mask::Mask;
pub use off::Off;
pub use path::shortest;
pub use sea::{POWER, wiener};
pub use spec::{Spec, Window};
pub use taylor::Taylor;
pub use teacache::{Indicator, TeaCache};

pub use crate::ops::Negative;
pub use uniform::Uniform;

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
    /// A step decided by its place alone: nothing is rescaled, nothing compared.
    fn placed(decision: Decision, distance: Option<f64>) -> Self {
        Step { decision, distance, rescaled: None, accumulated: 0.0 }
    }
}

/// Decides, step by step, for one generation.
pub trait Policy {
    /// Decides step `step` (from 0), given the distance of its indicator from the step before, if one was measured.
    ///
    /// Steps are asked for in order, once each; step 0 begins a new generation.
    fn decide(&mut self, step: usize, distance: Option<f64>) -> Step;

    /// The rule, if it decides by something measured: then the `tea_gate` kernel evaluates it on the device.
    ///
    /// None means that the host knows every decision before the first step.
    fn tea(&self) -> Option<&TeaCache> {
        None
    }

    /// The same rule, to be given other coefficients and their range.
    fn tea_mut(&mut self) -> Option<&mut TeaCache> {
        None
    }

    /// Whether a skipped step carries on the residual's change ([`Taylor`]), or takes the last residual as it is.
    fn extrapolates(&self) -> bool {
        false
    }

    /// Whether any step may be skipped. Where none may, no residual is kept.
    fn reuses(&self) -> bool {
        true
    }
}

/// The trace that a policy makes of recorded distances, one per step.
pub fn replay(policy: &mut dyn Policy, distances: &[Option<f64>]) -> Vec<Step> {
    let decide = |(step, &distance)| policy.decide(step, distance);
    distances.iter().enumerate().map(decide).collect()
}

/// The decisions of a trace as a string of `F`, `C` and `S`.
pub fn letters(steps: &[Step]) -> String {
    steps.iter().map(|step| step.decision.letter()).collect()
}
