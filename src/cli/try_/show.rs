//! A report in words.

use steep::lab::{Ratio, Report};

/// Lines: how many cases are right, and what is wrong in the smallest that is not.
pub fn report(report: &Report) -> String {
    let Report { device, cases, failed, not_taken, left, findings, .. } = report;
    let others = match not_taken {
        0 => String::new(),
        n => format!("; {n} more it does not take, by its header"),
    };
    let Some(first) = findings.first() else {
        return match cases {
            0 => format!("{device}: not tried: it takes none of the cases{others}\n"),
            n => format!("{device}: right in all {n} cases{others}\n"),
        };
    };
    let left = match left {
        0 => String::new(),
        n => format!(", {n} left out"),
    };
    let (dtype, case) = (&first.dtype, short(&first.case));
    let mut text =
        format!("{device}: wrong in {failed} of {cases} cases{left}; the smallest is {dtype} {case}\n");
    let same = findings.iter().take_while(|f| (&f.case, &f.dtype) == (&first.case, &first.dtype));
    for finding in same {
        let place = finding.place.as_ref().map_or(String::new(), |place| format!("{place}: "));
        text += &format!("  {place}{}\n", finding.what);
    }
    text
}

/// As much of a case's name as fits in a line.
fn short(name: &str) -> String {
    const MOST: usize = 60;
    match name.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}...", &name[..at]),
        None => name.to_string(),
    }
}

/// A line: how many times as fast as the best of the op's own sources.
pub fn ratio(ratio: &Ratio) -> String {
    let Ratio { shape, dtype, best, ratio, half } = ratio;
    let sure = match half {
        Some(half) => format!(" (95 %: {:.2} to {:.2})", (ratio - half).max(0.0), ratio + half),
        None => ", once".to_string(),
    };
    format!("{dtype} {shape}: yours is {ratio:.2} times as fast as {best}{sure}\n")
}
