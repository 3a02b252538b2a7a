//! `uniform:N`: steps 0, N, 2N, … and the last one compute, whatever the content.

use super::{Arguments, Entry};
use crate::cache::{Measure, Rule, Span};

pub static UNIFORM: Entry = Entry {
    name: "uniform",
    arguments: ":N",
    skips_when: "the step's number is not a multiple of N, and it is not the last step",
    source: None,
    measure: Measure::Nothing,
    span: Span::Blocks,
    limits: &[],
    parse,
};

fn parse(text: &str) -> Result<Arguments, String> {
    let every: Option<usize> = text.parse().ok().filter(|every| *every > 0);
    let every = every.ok_or("uniform:N with N at least 1")?;
    Ok(Arguments::new(every.to_string(), move |run| {
        let last = run.steps - 1;
        Ok(Rule::schedule((0..run.steps).map(|step| step.is_multiple_of(every) || step == last)))
    }))
}
