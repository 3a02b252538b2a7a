//! Temporary.
#![allow(missing_docs)]
use super::*;
use crate::Result;
pub struct Policy { pub measure: Measure, pub rule: Rule, pub span: Span, pub stand_in: StandIn }
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure { Nothing, Signal, FilteredSignal, FirstBlock, Output }
impl Measure { pub fn steps_before(self) -> usize { if self == Measure::Output { 2 } else { 1 } } }
pub enum Rule { Schedule(Vec<Step>), Threshold(TeaCache), Host(Box<dyn FnMut(usize, Option<f64>) -> Step>) }
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span { Blocks, OtherBlocks, Model }
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StandIn { Residual, Extrapolated }
#[derive(Clone, Default)]
pub struct Given { pub fit: Option<([f64; 5], Option<[f64; 2]>)>, pub magnitudes: Option<Vec<f64>> }
impl Policy {
    pub fn off(steps: usize) -> Policy {
        let s = Step::placed(Decision::Computed, None);
        Policy { measure: Measure::Nothing, rule: Rule::Schedule(vec![s; steps]), span: Span::Blocks, stand_in: StandIn::Residual }
    }
    pub fn threshold(measure: Measure, rule: TeaCache) -> Policy {
        Policy { measure, rule: Rule::Threshold(rule), span: Span::Blocks, stand_in: StandIn::Residual }
    }
    pub fn reuses(&self) -> bool {
        match &self.rule {
            Rule::Schedule(s) => s.iter().any(|s| !s.decision.computes()),
            Rule::Threshold(t) => t.threshold > 0.0,
            Rule::Host(_) => true,
        }
    }
    pub fn replay(&mut self, distances: &[Option<f64>]) -> Vec<Step> {
        match &mut self.rule {
            Rule::Schedule(s) => s.clone(),
            Rule::Threshold(t) => super::replay(t, distances),
            Rule::Host(f) => distances.iter().enumerate().map(|(i, d)| f(i, *d)).collect(),
        }
    }
}
impl Spec {
    pub fn off() -> Spec { Spec::Off }
    pub fn file(&self) -> Option<&std::path::Path> { None }
    pub fn policy(&self, steps: usize, given: &Given) -> Result<Policy> {
        let mut old = self.old_policy(steps)?;
        let stand_in = if old.extrapolates() { StandIn::Extrapolated } else { StandIn::Residual };
        if let Some(tea) = old.tea_mut() {
            if let (true, Some((c, r))) = (self.takes_calibration(), given.fit) { tea.coefficients = c; tea.range = r; }
            let (measure, span) = match tea.indicator {
                Indicator::Signal => (Measure::Signal, Span::Blocks),
                Indicator::FilteredSignal => (Measure::FilteredSignal, Span::Blocks),
                Indicator::FirstBlock => (Measure::FirstBlock, Span::OtherBlocks),
                Indicator::Output => (Measure::Output, Span::Model),
            };
            return Ok(Policy { measure, rule: Rule::Threshold(tea.clone()), span, stand_in });
        }
        let all = (0..steps).map(|i| old.decide(i, None)).collect();
        Ok(Policy { measure: Measure::Nothing, rule: Rule::Schedule(all), span: Span::Blocks, stand_in })
    }
}
