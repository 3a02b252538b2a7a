//! `tea:δ`, TeaCache (arXiv 2411.19108): [`TeaCache`] on the modulated input of block 0.

use super::{Arguments, Entry, threshold};
use crate::cache::{IDENTITY, Limits, Measure, Negative, Rule, SETS, Span, TeaCache, find};

pub static TEA: Entry = Entry {
    name: "tea",
    arguments: ":THRESHOLD[:identity, :NAME or :c4,c3,c2,c1,c0][:raw, :clamp or :abs]",
    skips_when: "the input's changes, rescaled by a polynomial, add up to less than THRESHOLD",
    source: Some(("TeaCache", "https://arxiv.org/abs/2411.19108")),
    measure: Measure::Signal,
    span: Span::Blocks,
    limits: Limits::ALL,
    parse,
};

/// The name of [`IDENTITY`] in a setting.
const IDENTITY_NAME: &str = "identity";

/// Where no coefficients are named, those that were fitted to the model are taken, if there are any; else distances
/// count as they are.
fn parse(text: &str) -> Result<Arguments, String> {
    let mut parts: Vec<&str> = text.split(':').collect();
    let threshold = threshold(parts.remove(0))?;
    let mode = |part: &&str| Negative::ALL.into_iter().find(|mode| mode.name() == *part);
    let mut negative = Negative::default();
    if let Some(found) = parts.last().and_then(mode) {
        negative = found;
        parts.pop();
    }
    let named = match parts[..] {
        [] => None,
        [part] => Some(coefficients(part)?),
        _ => return Err(TEA.written()),
    };
    let mut text = threshold.to_string();
    if let Some(c) = named {
        text += &match SETS.iter().find(|set| set.coefficients == c) {
            Some(set) => format!(":{}", set.name),
            None if c == IDENTITY => format!(":{IDENTITY_NAME}"),
            None => format!(":{},{},{},{},{}", c[0], c[1], c[2], c[3], c[4]),
        };
    }
    if negative != Negative::default() {
        text += &format!(":{}", negative.name());
    }
    let arguments = Arguments::new(text, move |run| {
        let fit = run.given.fit.filter(|_| named.is_none());
        let coefficients = named.or(fit.map(|fit| fit.coefficients)).unwrap_or(IDENTITY);
        let range = fit.map(|fit| fit.range);
        let rule = TeaCache::new(threshold, coefficients, run.steps);
        Ok(Rule::Threshold(TeaCache { negative, range, ..rule }))
    });
    Ok(Arguments { takes_calibration: named.is_none(), ..arguments })
}

fn coefficients(part: &str) -> Result<[f64; 5], String> {
    if part.contains(',') {
        let numbers: Option<Vec<f64>> = part.split(',').map(|c| c.parse().ok()).collect();
        let numbers: Option<[f64; 5]> = numbers.and_then(|c| c.try_into().ok());
        let numbers = numbers.ok_or("five numbers c4,c3,c2,c1,c0, highest power first")?;
        return match numbers.iter().all(|c| c.is_finite()) {
            true => Ok(numbers),
            false => Err("finite coefficients".into()),
        };
    }
    if part == IDENTITY_NAME {
        return Ok(IDENTITY);
    }
    find(part).map(|set| set.coefficients).ok_or_else(|| {
        let names: Vec<&str> = [IDENTITY_NAME].into_iter().chain(SETS.iter().map(|set| set.name)).collect();
        let names = names.join(", ");
        format!("five numbers c4,c3,c2,c1,c0; raw, clamp or abs; or one of {names}")
    })
}
