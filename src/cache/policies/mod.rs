//! The policies that have a name: one file for each, and one line in [`POLICIES`].

mod easy;
mod fb;
mod mag;
mod mask;
mod off;
mod sea;
mod tea;
mod uniform;

use std::path::PathBuf;

use super::{Limits, Measure, Rule, Span, TeaCache};
use crate::cache::Given;

pub use sea::{POWER, wiener};

/// Every named policy, in the order of the documentation.
#[rustfmt::skip]
pub static POLICIES: &[&Entry] = &[
    &off::OFF,
    &uniform::UNIFORM,
    &mask::MASK,
    &tea::TEA,
    &fb::FB,
    &sea::SEA,
    &easy::EASY,
    &mag::MAG,
];

/// A policy that has a name: how it is written, where it comes from, and what it is made of.
///
/// The grammar, the messages about it and the table of the documentation come from this.
#[derive(Debug)]
pub struct Entry {
    /// The first word of a setting.
    pub name: &'static str,
    /// What follows the name, as the grammar writes it: nothing, or a colon and the arguments.
    pub arguments: &'static str,
    /// When it skips a step, in one line.
    pub skips_when: &'static str,
    /// Name and address of the publication; None for what needs none.
    pub source: Option<(&'static str, &'static str)>,
    /// What is measured.
    pub measure: Measure,
    /// What a skipped step leaves out.
    pub span: Span,
    /// Which of the [`Limits`] it heeds, by their names.
    pub limits: &'static [&'static str],
    /// Reads what stands behind the colon. Err is what was wanted instead.
    pub(super) parse: fn(&str) -> Result<Arguments, String>,
}

/// The arguments of a policy, read.
pub(super) struct Arguments {
    /// As they are written, in one way for equal values.
    pub text: String,
    /// Whether coefficients that were fitted to the model serve it.
    pub takes_calibration: bool,
    /// The file that holds the model's magnitudes.
    pub file: Option<PathBuf>,
    /// Makes the rule. Err is what was wanted instead of these arguments.
    pub rule: Box<MakeRule>,
}

type MakeRule = dyn Fn(&Run<'_>) -> Result<Rule, String> + Send + Sync;

/// The run that a rule is made for.
pub(super) struct Run<'a> {
    /// At least 1.
    pub steps: usize,
    pub given: &'a Given,
    /// A threshold's are set when it is made. A schedule heeds them itself.
    pub limits: Limits,
}

impl Entry {
    /// How it is written: its name, and what follows it.
    pub fn written(&self) -> String {
        format!("{}{}", self.name, self.arguments)
    }
}

impl Arguments {
    fn new(text: String, rule: impl Fn(&Run<'_>) -> Result<Rule, String> + Send + Sync + 'static) -> Self {
        Arguments { text, takes_calibration: false, file: None, rule: Box::new(rule) }
    }

    /// A threshold and nothing else: `rule(threshold, steps)`.
    fn threshold(text: &str, rule: fn(f64, usize) -> TeaCache) -> Result<Self, String> {
        let threshold = threshold(text)?;
        Ok(Self::new(threshold.to_string(), move |run| Ok(Rule::Threshold(rule(threshold, run.steps)))))
    }
}

fn threshold(text: &str) -> Result<f64, String> {
    let threshold: Option<f64> = text.parse().ok().filter(|threshold| *threshold >= 0.0);
    threshold.ok_or_else(|| format!("a threshold from 0 to inf, not {text:?}"))
}
