use super::{OldPolicy, Step, TeaCache};

/// `…+taylor`: any schedule, whose skipped steps do not take the last residual as it is but carry on its change.
///
/// With R and R' those of the last two computed steps, s and s' steps ago,
///
/// ```text
/// R ≈ R + (R − R')·s / (s' − s)
/// ```
///
/// the first order of TaylorSeer (arXiv 2503.06923), on what the whole stretch of skipped blocks adds rather than
/// layer by layer. Until two steps were computed, R is taken as it is.
pub struct Taylor(pub Box<dyn OldPolicy>);

impl OldPolicy for Taylor {
    fn decide(&mut self, step: usize, distance: Option<f64>) -> Step {
        self.0.decide(step, distance)
    }

    fn tea(&self) -> Option<&TeaCache> {
        self.0.tea()
    }

    fn tea_mut(&mut self) -> Option<&mut TeaCache> {
        self.0.tea_mut()
    }

    fn reuses(&self) -> bool {
        self.0.reuses()
    }

    fn extrapolates(&self) -> bool {
        true
    }
}
