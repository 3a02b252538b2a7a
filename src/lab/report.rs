//! What a trial finds, as data.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Candidate, Language};
use crate::Error;

/// What became of a kernel on one device.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// The file's name.
    pub file: String,
    /// The op.
    pub op: String,
    /// What the file is written in.
    pub language: Language,
    /// The device, as [`Device::describe`](crate::Device::describe) says it.
    pub device: String,
    /// Cases that the kernel ran, or would have if it compiled.
    pub cases: usize,
    /// Those of them in which something was wrong.
    pub failed: usize,
    /// Cases that it does not take, by its header.
    pub not_taken: usize,
    /// Cases that were left: one failed as all others of its type would.
    pub left: usize,
    /// Everything that is wrong, of the smallest case first.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Of a candidate that was not tried yet.
    pub fn new(candidate: &Candidate, device: String) -> Report {
        Report {
            file: candidate.file.into(),
            op: candidate.op.kernel.name.into(),
            language: candidate.language,
            device,
            cases: 0,
            failed: 0,
            not_taken: 0,
            left: 0,
            findings: vec![],
        }
    }

    /// Whether the kernel ran, and nothing is wrong.
    pub fn passed(&self) -> bool {
        self.findings.is_empty() && self.cases > 0
    }

    /// Whether something is wrong. A kernel that takes none of the cases has neither passed nor failed.
    pub fn failed(&self) -> bool {
        !self.findings.is_empty()
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Of what kind it is.
    pub kind: Kind,
    /// The case: a shape, and what is special about it.
    pub case: String,
    /// The type of the matrix operands.
    pub dtype: String,
    /// The size of the case: elements that are touched, or operations of matrix products.
    pub work: usize,
    /// Where in a file, as far as that is known.
    pub place: Option<Place>,
    /// What is wrong, in a line.
    pub what: String,
}

/// The kinds of things that are wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It does not compile, or takes other arguments than the op has.
    Compile,
    /// What it does is not allowed: an access out of bounds, a race, a deadlock.
    Fault,
    /// It does not end.
    Endless,
    /// Other numbers than there should be.
    Wrong,
    /// Something was written behind the end of an output.
    Overrun,
    /// The same call gives other bits the second time.
    Unstable,
    /// It does its work under a gate that is closed, does not under one that is open, or does not count it.
    Gate,
}

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The user's file, or one of the crate's that it includes.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1.
    pub column: Option<usize>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)?;
        self.column.map_or(Ok(()), |column| write!(f, ":{column}"))
    }
}

/// A compiler's or the emulator's message apart: `FILE:LINE:COLUMN: WHAT`, `FILE:LINE: WHAT` or `FILE(LINE): WHAT`, wherever
/// it begins in the text. What stands before it is left out.
pub(super) fn apart(text: &str, file: &str) -> (Option<Place>, String) {
    for (at, _) in text.match_indices(file) {
        let rest = &text[at + file.len()..];
        let number = |rest: &str| {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            rest[..digits].parse::<usize>().ok().map(|n| (n, digits))
        };
        let place = |line, column| Some(Place { file: file.to_string(), line, column });
        if let Some(rest) = rest.strip_prefix(':')
            && let Some((line, digits)) = number(rest)
        {
            let rest = &rest[digits..];
            let column = rest.strip_prefix(':').and_then(number);
            let rest = column.map_or(rest, |(_, digits)| &rest[1 + digits..]);
            if let Some(what) = rest.strip_prefix(": ") {
                return (place(line, column.map(|(n, _)| n)), what.to_string());
            }
        }
        if let Some(rest) = rest.strip_prefix('(')
            && let Some((line, digits)) = number(rest)
            && let Some(what) = rest[digits..].strip_prefix("): ")
        {
            return (place(line, None), what.to_string());
        }
    }
    (None, text.to_string())
}

/// What a device's error says, without the device.
pub(super) fn words(error: &Error) -> String {
    match error {
        Error::Device { why, .. } => why.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_apart() {
        let of = |text| apart(text, "my kernel.cu");
        let place = |line, column| Some(Place { file: "my kernel.cu".into(), line, column });
        assert_eq!(of("my kernel.cu:3: race: x"), (place(3, None), "race: x".into()));
        assert_eq!(of("take: my kernel.cu:3:14: error: x"), (place(3, Some(14)), "error: x".into()));
        assert_eq!(
            of("NVRTC: my kernel.cu for sm_80: my kernel.cu(7): error: y"),
            (place(7, None), "error: y".into())
        );
        assert_eq!(of("my kernel.cu: nothing"), (None, "my kernel.cu: nothing".into()));
    }
}
