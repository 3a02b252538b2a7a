use super::{Decision, OldPolicy, Step};

/// `mask:1011…`: a schedule written out, 1 for a step that computes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    /// Whether each step computes. The first must; a step past the end does.
    pub computes: Vec<bool>,
}

impl OldPolicy for Mask {
    fn decide(&mut self, step: usize, distance: Option<f64>) -> Step {
        let decision = match self.computes.get(step) {
            Some(false) => Decision::Skipped,
            _ => Decision::Computed,
        };
        Step::placed(decision, distance)
    }
}
