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

/// Lines of a trace that are shown.
#[cfg(feature = "cuda")]
const PAGE: usize = 60;

/// Who did what, a page at most.
#[cfg(feature = "cuda")]
pub fn trace(trace: &super::Trace) -> String {
    let super::Trace { of, dtype, case, lines } = trace;
    let what = match of.split_once(',') {
        Some((block, warp)) => format!("warp {warp} of block {block}"),
        None => format!("block {of}"),
    };
    let mut text = format!("trace of {what}, {dtype} {}:\n", short(case));
    if lines.is_empty() {
        text += "  nothing: there is no such block or warp, or it does nothing of the kind\n";
    }
    let width = |i: usize| lines.iter().take(PAGE).map(|line| line[i].chars().count()).max().unwrap_or(0);
    let (places, threads) = (width(0), width(1));
    for [place, who, what] in lines.iter().take(PAGE) {
        text += &format!("  {place:places$}  {who:threads$}  {what}\n");
    }
    if lines.len() > PAGE {
        text += &format!("  and {} more; --json has all\n", lines.len() - PAGE);
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
