//! `easy:δ`, EasyCache (arXiv 2507.02860): the distance is k·Σ|x − x'| / Σ|v|, with x and x' the clip now and a step
//! ago, v the model's output on the last computed step, and
//!
//! ```text
//! k = Σ|v − v"| / Σ|x − x"|     v", x": on the computed step before that one, both of their own step
//! ```
//!
//! Kept is the model's output less its input, so that a skipped step runs nothing of the model.
//!
//! k takes two computed steps; the paper's runs compute the first 5 or 10 of 50 (github.com/H-EmbodVis/EasyCache,
//! HunyuanVideo and Wan 2.1), here a tenth of the steps.

use super::{Arguments, Entry};
use crate::cache::{IDENTITY, Limits, Measure, Span, TeaCache};

pub static EASY: Entry = Entry {
    name: "easy",
    arguments: ":THRESHOLD",
    skips_when: "the output's expected changes add up to less than THRESHOLD",
    source: Some(("EasyCache", "https://arxiv.org/abs/2507.02860")),
    measure: Measure::Output,
    span: Span::Model,
    limits: Limits::ALL,
    parse: |text| Arguments::threshold(text, rule),
};

fn rule(threshold: f64, steps: usize) -> TeaCache {
    TeaCache { warmup: steps.div_ceil(10), ..TeaCache::new(threshold, IDENTITY, steps) }
}
