//! `mag:δ`, MagCache (arXiv 2506.09045; code in github.com/Zehong-Ma/MagCache): a schedule from a table of residual
//! norms. Nothing is measured while it runs.
//!
//! Residuals of neighbouring steps point the same way and shrink slowly. With γ_t the mean over tokens of
//! ‖R_t‖ / ‖R_{t−1}‖, measured once ([`magnitudes`](crate::sample::magnitudes)), what reuse costs is known beforehand:
//!
//! ```text
//! ratio = ratio·γ_t;   error = error + |1 − ratio|
//! skip if error < δ and at most K in a row;   otherwise compute, and let ratio = 1, error = 0
//! ```

use super::{Arguments, Entry, Run, threshold};
use crate::cache::{Decision, Measure, Rule, Span, Step};

pub static MAG: Entry = Entry {
    name: "mag",
    arguments: ":THRESHOLD[:K]@FILE",
    skips_when: "the table in FILE predicts an error of less than THRESHOLD, at most K times in a row",
    source: Some(("MagCache", "https://arxiv.org/abs/2506.09045")),
    measure: Measure::Nothing,
    span: Span::Blocks,
    limits: &["start", "end"],
    parse,
};

fn parse(text: &str) -> Result<Arguments, String> {
    let Some((numbers, file)) = text.split_once('@').filter(|(_, file)| !file.is_empty()) else {
        return Err("mag:THRESHOLD[:K]@FILE, with a file that holds the model's magnitudes".into());
    };
    let (delta, most) = match numbers.split_once(':') {
        Some((delta, most)) => {
            (delta, Some(most.parse().map_err(|_| format!("K, a number of steps, not {most:?}"))?))
        }
        None => (numbers, None),
    };
    let threshold = threshold(delta)?;
    let most_text = most.map_or(String::new(), |most: usize| format!(":{most}"));
    let text = format!("{threshold}{most_text}@{file}");
    // The authors' K.
    let most = most.unwrap_or(2);
    let arguments = Arguments::new(text, move |run| {
        let table = run.given.magnitudes.as_deref().filter(|table| !table.is_empty());
        let table = table.ok_or("the model's magnitudes, as `steep calibrate` measures them")?;
        Ok(Rule::Schedule(schedule((threshold, most), table, run)))
    });
    Ok(Arguments { file: Some(file.into()), ..arguments })
}

/// The decisions of a run. `table` is γ from step 0 on (the first has no step before it, and counts for nothing); where
/// it is of a run of another length, the nearest in time is taken.
fn schedule((threshold, most): (f64, usize), table: &[f64], run: &Run<'_>) -> Vec<Step> {
    let last = table.len() - 1;
    let nearest = |step: usize| match run.steps {
        1 => last,
        // Halves go to the even neighbour, as numpy's `round` has it.
        steps => (step as f64 * last as f64 / (steps - 1) as f64).round_ties_even() as usize,
    };
    // A fifth of the steps at the start always computes, as in the paper; at least the first, which has nothing to reuse.
    let start = run.limits.start.unwrap_or(run.steps / 5).max(1);
    let end = run.limits.end.unwrap_or(usize::MAX);
    let fresh = (1.0, 0.0, 0);
    let (mut ratio, mut error, mut skipped) = fresh;
    let decide = |step: usize| {
        if step < start || step >= end {
            (ratio, error, skipped) = fresh;
            return Step::placed(Decision::Forced, None);
        }
        let gamma = table[nearest(step)];
        ratio *= gamma;
        error += (1.0f64 - ratio).abs();
        skipped += 1;
        let accumulated = if error.is_finite() { error } else { 0.0 };
        let skips = error < threshold && skipped <= most;
        if !skips {
            (ratio, error, skipped) = fresh;
        }
        let decision = if skips { Decision::Skipped } else { Decision::Computed };
        Step { decision, distance: None, rescaled: Some(gamma), accumulated }
    };
    (0..run.steps).map(decide).collect()
}
