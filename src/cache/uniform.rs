use super::{Decision, OldPolicy, Step};

/// `uniform:n`: steps 0, n, 2n, … and the last one compute, whatever the content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uniform {
    /// One step in so many computes; at least 1.
    pub every: usize,
    /// How many steps the generation has.
    pub steps: usize,
}

impl OldPolicy for Uniform {
    fn decide(&mut self, step: usize, distance: Option<f64>) -> Step {
        let computes = step.is_multiple_of(self.every) || step + 1 >= self.steps;
        let decision = if computes { Decision::Computed } else { Decision::Skipped };
        Step::placed(decision, distance)
    }
}
