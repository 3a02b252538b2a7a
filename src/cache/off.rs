use super::{Decision, OldPolicy, Step};

/// `off`: every step computes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Off;

impl OldPolicy for Off {
    fn decide(&mut self, _step: usize, distance: Option<f64>) -> Step {
        Step::placed(Decision::Computed, distance)
    }

    fn reuses(&self) -> bool {
        false
    }
}
