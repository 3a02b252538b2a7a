//! A cache policy as a user writes it.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use super::policies::{Arguments, Entry, POLICIES, Run};
use super::{Measure, Policy, Rule, StandIn, TeaCache};
use crate::{Error, Result};

/// A cache policy as a user writes it: `off`, `uniform:3`, `mask:1011`, `tea:0.2`, `tea:0.2:latte-1`,
/// `tea:0.2:0,0,0,1,0:raw`, `fb:0.1`, `sea:0.1`, `easy:0.05`, `mag:0.1:4@table.json`; and what it is modified by:
/// `tea:0.2+start=5+end=45+max-skips=3`, `uniform:2+taylor`.
///
/// What [`Display`](fmt::Display) writes parses to an equal value. Some models share their coefficients;
/// they are written with the first name that has them.
#[derive(Clone)]
pub struct Spec {
    entry: &'static Entry,
    arguments: Arc<Arguments>,
    limits: Limits,
    stand_in: StandIn,
}

/// Where a rule may skip. None leaves it to the rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Steps before this one compute.
    pub start: Option<usize>,
    /// This step and those after it compute.
    pub end: Option<usize>,
    /// The most steps that are skipped in a row.
    pub max_skips: Option<usize>,
}

/// How a limit is written, `+name=VALUE`, and where it is kept.
struct Written {
    name: &'static str,
    value: &'static str,
    field: fn(&mut Limits) -> &mut Option<usize>,
}

/// How [`StandIn::Extrapolated`] is written, behind a plus sign.
const TAYLOR: &str = "taylor";

/// What a policy's maker is given beside its setting: what belongs to the model, read by the caller.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Given {
    /// The polynomial that was fitted to the model, for a setting that [takes it](Spec::takes_calibration).
    pub fit: Option<Polynomial>,
    /// MagCache's γ of each step, for a setting that names a [file](Spec::file) of them.
    pub magnitudes: Option<Vec<f64>>,
}

/// A polynomial for distances, and where it holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Polynomial {
    /// c4, c3, c2, c1, c0: highest power first.
    pub coefficients: [f64; 5],
    /// The smallest and the largest distance that it was fitted on.
    pub range: [f64; 2],
}

impl Limits {
    /// The names of all limits.
    pub const ALL: &[&str] = &[Self::WRITTEN[0].name, Self::WRITTEN[1].name, Self::WRITTEN[2].name];

    const WRITTEN: [Written; 3] = [
        Written { name: "start", value: "STEP", field: |limits| &mut limits.start },
        Written { name: "end", value: "STEP", field: |limits| &mut limits.end },
        Written { name: "max-skips", value: "N", field: |limits| &mut limits.max_skips },
    ];

    /// The limits that are set, by name.
    fn set(mut self) -> impl Iterator<Item = (&'static str, usize)> {
        Self::WRITTEN.into_iter().filter_map(move |w| Some((w.name, (*(w.field)(&mut self))?)))
    }

    fn apply(self, rule: &mut TeaCache) {
        rule.warmup = self.start.map_or(rule.warmup, |start| start.max(1));
        rule.end = self.end.unwrap_or(rule.end);
        rule.max_skips = self.max_skips.unwrap_or(rule.max_skips);
    }
}

/// The most steps of a run: far above any use, and low enough that a wrong number is an error before it is a shortage of
/// memory.
pub const MOST_STEPS: usize = 100_000;

impl Spec {
    /// What can be written.
    pub fn grammar() -> String {
        let policies: Vec<String> = POLICIES.iter().map(|e| e.written()).collect();
        let limits = Limits::WRITTEN.map(|w| format!("[+{}={}]", w.name, w.value)).concat();
        format!("{}; then {limits}[+{TAYLOR}]", list(&policies, "or"))
    }

    /// The names of the policies that `which` holds for, in words: `tea, fb, sea or easy`.
    pub fn names(which: impl Fn(&Entry) -> bool) -> String {
        let names: Vec<&str> = POLICIES.iter().filter(|e| which(e)).map(|e| e.name).collect();
        list(&names, "or")
    }

    /// `off`: every step computes.
    pub fn off() -> Spec {
        "off".parse().unwrap_or_else(|_| unreachable!("off is a policy"))
    }

    /// The policy for one run of `steps` steps.
    pub fn policy(&self, steps: usize, given: &Given) -> Result<Policy> {
        if !(1..=MOST_STEPS).contains(&steps) {
            return Err(Error::setting(format!("steps {steps}"), format!("1 to {MOST_STEPS}")));
        }
        let run = Run { steps, given, limits: self.limits };
        let mut rule = (self.arguments.rule)(&run).map_err(|wanted| bad(self, wanted))?;
        let Entry { measure, span, .. } = *self.entry;
        if let Rule::Threshold(rule) = &mut rule {
            self.limits.apply(rule);
            // Until there are distances, there is nothing to decide by.
            rule.warmup = rule.warmup.max(measure.steps_before());
        }
        Ok(Policy { measure, rule, span, stand_in: self.stand_in })
    }

    /// Whether it is a policy for runs of `steps` steps, as far as can be known before its file is read.
    pub fn check(&self, steps: usize) -> Result<()> {
        self.policy(steps, &Given { fit: None, magnitudes: Some(vec![1.0]) }).map(drop)
    }

    /// Whether it is a `tea` that names no coefficients, so that [`Given::fit`] serves it.
    pub fn takes_calibration(&self) -> bool {
        self.arguments.takes_calibration
    }

    /// The file that holds [`Given::magnitudes`]: JSON, a list of numbers or an object that has one as `magnitudes`.
    pub fn file(&self) -> Option<&Path> {
        self.arguments.file.as_deref()
    }

    /// What it measures.
    pub fn measure(&self) -> Measure {
        self.entry.measure
    }
}

impl FromStr for Spec {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = |wanted: String| bad(text, wanted);
        let (base, limits, stand_in) = modifiers(text).map_err(bad)?;
        let (name, rest) = match base.split_once(':') {
            Some((name, rest)) => (name, Some(rest)),
            None => (base, None),
        };
        // What is not read may be a modifier that is none.
        let bad_base = |wanted: String| bad(stray(base).map_or(wanted, not_a_modifier));
        let known = POLICIES.iter().find(|e| e.name == name).ok_or_else(|| bad_base(Spec::grammar()));
        let entry = known?;
        if entry.arguments.is_empty() != rest.is_none() {
            return Err(bad_base(entry.written()));
        }
        let arguments = (entry.parse)(rest.unwrap_or_default()).map_err(bad_base)?;
        if limits.max_skips == Some(0) {
            return Err(bad("max-skips of at least 1; `off` skips nothing".into()));
        }
        if limits.set().any(|(name, _)| !entry.limits.contains(&name)) {
            return Err(bad(heeded()));
        }
        Ok(Spec { entry, arguments: Arc::new(arguments), limits, stand_in })
    }
}

/// What stands before the modifiers, and they. Words that are none stay with what they stand behind: a file's name
/// may hold any.
fn modifiers(text: &str) -> Result<(&str, Limits, StandIn), String> {
    let (mut base, mut limits, mut stand_in) = (text, Limits::default(), StandIn::Residual);
    while let Some((before, word)) = base.rsplit_once('+') {
        if word == TAYLOR && stand_in == StandIn::Residual {
            (base, stand_in) = (before, StandIn::Extrapolated);
            continue;
        }
        let Some((name, value)) = word.split_once('=') else { break };
        let Some(written) = Limits::WRITTEN.into_iter().find(|w| w.name == name) else { break };
        let number = value.parse().map_err(|_| format!("a number of steps as {name}, not {value:?}"))?;
        if (written.field)(&mut limits).replace(number).is_some() {
            return Err(format!("{word} or another, not both"));
        }
        base = before;
    }
    Ok((base, limits, stand_in))
}

/// The last word behind a plus sign, if it is one: numbers have such signs too, but begin with a digit.
fn stray(base: &str) -> Option<&str> {
    let (_, word) = base.rsplit_once('+')?;
    (!word.starts_with(|c: char| c.is_ascii_digit())).then_some(word)
}

fn not_a_modifier(word: &str) -> String {
    if word == TAYLOR {
        return format!("{TAYLOR} once");
    }
    let mut all: Vec<String> = Limits::WRITTEN.map(|w| format!("+{}={}", w.name, w.value)).into();
    all.push(format!("+{TAYLOR}"));
    format!("{}, not \"+{}\"", list(&all, "or"), word.escape_debug())
}

/// Which policies heed which limits.
fn heeded() -> String {
    let mut groups: Vec<&[&str]> = vec![];
    for entry in POLICIES.iter().filter(|e| !e.limits.is_empty()) {
        if !groups.contains(&entry.limits) {
            groups.push(entry.limits);
        }
    }
    let group =
        |limits: &&[&str]| format!("{} of {}", list(limits, "and"), Spec::names(|e| e.limits == *limits));
    groups.iter().map(group).collect::<Vec<_>>().join(", or ")
}

/// `a, b or c`
fn list<T: AsRef<str>>(words: &[T], joint: &str) -> String {
    let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
    match words.split_last() {
        Some((last, [])) => last.to_string(),
        Some((last, rest)) => format!("{} {joint} {last}", rest.join(", ")),
        None => String::new(),
    }
}

fn bad(spec: impl fmt::Display, wanted: impl fmt::Display) -> Error {
    Error::setting(format!("cache {:?}", spec.to_string()), wanted)
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.entry.name)?;
        if !self.entry.arguments.is_empty() {
            write!(f, ":{}", self.arguments.text)?;
        }
        for (name, value) in self.limits.set() {
            write!(f, "+{name}={value}")?;
        }
        match self.stand_in {
            StandIn::Residual => Ok(()),
            StandIn::Extrapolated => write!(f, "+{TAYLOR}"),
        }
    }
}

impl fmt::Debug for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Spec({self})")
    }
}

/// Specs that are written alike are the same.
impl PartialEq for Spec {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}
