//! Distances of a run that was recorded, from text or from a record.

use serde_json::Value;

/// One entry for each step of the run; None where nothing was measured, as at the first step.
///
/// `text` is a record that `generate --json` wrote, or numbers between spaces, commas, semicolons or line ends, `-` or
/// `nan` for one that is missing, and `#` before a comment. A list without an entry for the first step is one shorter
/// than the run. `steps` is how many steps the run has, where that is known; only then, or in a record, may it be one.
///
/// # Errors
///
/// What is wrong: a word that is no distance from 0, a comma that may be a decimal one (`0,1`), a record without
/// distances, or a list of another length.
pub fn parse(text: &str, steps: Option<usize>) -> Result<Vec<Option<f64>>, String> {
    let record = text.trim_start().starts_with('{');
    let mut all = if record { from_record(text)? } else { from_list(text)? };
    let unmeasured = all.first().is_some_and(Option::is_none);
    if steps.map_or(!unmeasured, |steps| all.len().checked_add(1) == Some(steps)) {
        all.insert(0, None);
    }
    match steps {
        Some(steps) if steps != all.len() => {
            let wanted = format!("{steps} distances for --steps {steps}, or {}", steps.saturating_sub(1));
            Err(format!("wanted {wanted} without the first step's, got {}", all.len()))
        }
        None if all.len() < 2 && !record => {
            Err("wanted at least one distance, or --steps 1 for a run of one step".into())
        }
        _ => Ok(all),
    }
}

fn from_list(text: &str) -> Result<Vec<Option<f64>>, String> {
    let mut all = vec![];
    for (i, line) in text.lines().enumerate() {
        let shown = |word: &str| word.chars().take(40).collect::<String>();
        let numbers = line.split('#').next().unwrap_or_default();
        for group in numbers.split([';', ' ', '\t', '\r']) {
            if let Some(word) = decimal_comma(group) {
                let point = word.replacen(',', ".", 1);
                return Err(format!(
                    "line {}: {:?} may be one number or two; wanted a decimal point ({}), or a space behind a comma \
                     that stands between numbers",
                    i + 1,
                    shown(word),
                    shown(&point)
                ));
            }
            for word in group.split(',').filter(|word| !word.is_empty()) {
                all.push(distance(word).ok_or_else(|| {
                    let word = shown(word);
                    format!("line {}: wanted a distance, 0 or more, `-` or nan, got {word:?}", i + 1)
                })?);
            }
        }
    }
    Ok(all)
}

/// The first `0,1` of what stands between spaces, if there is no decimal point in it, which would tell the two apart.
fn decimal_comma(group: &str) -> Option<&str> {
    if group.contains('.') {
        return None;
    }
    let ends_in_digit = |word: &str| word.ends_with(|c: char| c.is_ascii_digit());
    let begins_with_digit = |word: &str| word.starts_with(|c: char| c.is_ascii_digit());
    let start = |at: usize| group[..at].rfind(',').map_or(0, |comma| comma + 1);
    let end = |at: usize| group[at + 1..].find(',').map_or(group.len(), |comma| at + 1 + comma);
    let mut commas = group.match_indices(',');
    let (at, _) =
        commas.find(|(at, _)| ends_in_digit(&group[..*at]) && begins_with_digit(&group[at + 1..]))?;
    Some(&group[start(at)..end(at)])
}

/// Outer None: not a distance. Inner None: not measured.
fn distance(word: &str) -> Option<Option<f64>> {
    match word.parse::<f64>() {
        _ if word == "-" => Some(None),
        Ok(d) if d.is_nan() => Some(None),
        Ok(d) if d >= 0.0 => Some(Some(d)),
        _ => None,
    }
}

fn from_record(text: &str) -> Result<Vec<Option<f64>>, String> {
    let record: Value = serde_json::from_str(text).map_err(|e| format!("not JSON: {e}"))?;
    let steps = record["steps"].as_array().filter(|steps| !steps.is_empty());
    let steps = steps.ok_or("wanted a run's record, with `steps`")?;
    let d = |(i, step): (usize, &Value)| match &step["d"] {
        Value::Null => Ok(None),
        d => match d.as_f64().filter(|d| *d >= 0.0) {
            Some(d) => Ok(Some(d)),
            None => Err(format!("step {i}: wanted a number from 0, or null, as `d`, got {d}")),
        },
    };
    let all: Vec<_> = steps.iter().enumerate().map(d).collect::<Result<_, _>>()?;
    match all.len() > 1 && all.iter().skip(1).all(Option::is_none) {
        true => {
            Err("a run without distances; wanted one of a `tea` cache (tea:0 measures and skips nothing)"
                .into())
        }
        false => Ok(all),
    }
}
