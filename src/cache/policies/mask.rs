//! `mask:1011…`: a schedule written out, 1 for a step that computes.

use super::{Arguments, Entry};
use crate::cache::{Measure, Rule, Span};

pub static MASK: Entry = Entry {
    name: "mask",
    arguments: ":1011...",
    skips_when: "the step's digit is 0; `steep plan --search` finds the best mask for a model",
    source: Some(("LeMiCa", "https://arxiv.org/abs/2511.00090")),
    measure: Measure::Nothing,
    span: Span::Blocks,
    limits: &[],
    parse,
};

fn parse(text: &str) -> Result<Arguments, String> {
    let digit = |digit| match digit {
        '0' => Some(false),
        '1' => Some(true),
        _ => None,
    };
    let computes: Option<Vec<bool>> = text.chars().map(digit).collect();
    let computes = computes.ok_or("a mask of 1 (compute) and 0 (skip)")?;
    if computes.first() != Some(&true) {
        return Err("a mask that begins with 1: there is nothing to reuse yet".into());
    }
    Ok(Arguments::new(text.into(), move |run| match computes.len() {
        len if len == run.steps => Ok(Rule::schedule(computes.iter().copied())),
        len => Err(format!("{} digits, one per step, got {len}", run.steps)),
    }))
}
