//! A cache policy as a user writes it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::{IDENTITY, MagCache, Mask, Negative, Off, OldPolicy, SETS, Taylor, TeaCache, Uniform, find};
use crate::{Error, Result};

/// Names [`IDENTITY`].
const IDENTITY_NAME: &str = "identity";

/// A cache policy as a user writes it: `off`, `uniform:3`, `mask:1011`, `tea:0.2`, `tea:0.2:latte-1`,
/// `tea:0.2:0,0,0,1,0:raw`, `fb:0.1`, `sea:0.1`, `easy:0.05`, `mag:0.1:4@table.json`; and what it is modified by:
/// `tea:0.2+start=5+end=45+max-skips=3`, `uniform:2+taylor`.
///
/// What [`Display`](fmt::Display) writes parses to an equal value. Some models share their coefficients;
/// they are written with the first name that has them.
#[derive(Debug, Clone, PartialEq)]
pub enum Spec {
    /// Every step computes.
    Off,
    /// [`TeaCache`].
    Tea {
        /// δ, from 0 (every step computes) to infinity (only forced steps do).
        threshold: f64,
        /// c4, c3, c2, c1, c0. None where none were named: those of the model's
        /// [`Calibration`](crate::calibrate::Calibration) if it has one, else the distances count as they are, f(d) = d.
        coefficients: Option<[f64; 5]>,
        /// What to do with f(d) < 0.
        negative: Negative,
    },
    /// [`TeaCache::first_block`] with this threshold.
    FirstBlock(f64),
    /// [`TeaCache::sea`] with this threshold.
    Sea(f64),
    /// [`TeaCache::easy`] with this threshold.
    Easy(f64),
    /// [`MagCache`].
    Mag {
        /// δ.
        threshold: f64,
        /// K; None for the rule's own.
        max_skips: Option<usize>,
        /// Where γ is: JSON, a list of numbers or an object that has one as `magnitudes`.
        table: PathBuf,
    },
    /// [`Uniform`]: one step in so many computes.
    Uniform(usize),
    /// [`Mask`]: whether each step computes.
    Mask(Vec<bool>),
    /// One of the measuring rules or [`MagCache`], within limits.
    Within(Box<Spec>, Window),
    /// [`Taylor`]: skipped steps extrapolate.
    Taylor(Box<Spec>),
}

/// Where a rule may skip. None leaves it to the rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Window {
    /// Steps before this one compute.
    pub start: Option<usize>,
    /// This step and those after it compute.
    pub end: Option<usize>,
    /// No more than so many steps are skipped in a row.
    pub max_skips: Option<usize>,
}

impl Spec {
    /// What can be written.
    pub const GRAMMAR: &str = "off, uniform:N, mask:1011..., \
        tea:THRESHOLD[:identity, :NAME or :c4,c3,c2,c1,c0][:raw, :clamp or :abs], fb:THRESHOLD, sea:THRESHOLD, \
        easy:THRESHOLD or mag:THRESHOLD[:K]@FILE; then [+start=STEP][+end=STEP][+max-skips=N][+taylor]";

    /// The policy for one generation of `steps` steps.
    pub fn old_policy(&self, steps: usize) -> Result<Box<dyn OldPolicy>> {
        self.check()?;
        if steps == 0 {
            return Err(Error::setting("steps 0", "at least 1"));
        }
        let (base, window) = match self {
            Spec::Taylor(inner) => return Ok(Box::new(Taylor(inner.old_policy(steps)?))),
            Spec::Within(base, window) => (&**base, *window),
            base => (base, Window::default()),
        };
        if let Some(rule) = base.rule(steps) {
            return Ok(Box::new(window.limit(rule)));
        }
        Ok(match base {
            Spec::Uniform(every) => Box::new(Uniform { every: *every, steps }),
            Spec::Mask(computes) if computes.len() == steps => Box::new(Mask { computes: computes.clone() }),
            Spec::Mask(computes) => {
                let wanted = format!("{steps} digits, one per step, got {}", computes.len());
                return Err(self.error(wanted));
            }
            Spec::Mag { threshold, max_skips, table } => {
                let mut mag = MagCache::new(*threshold, &magnitudes(table)?, steps);
                mag.max_skips = max_skips.unwrap_or(mag.max_skips);
                mag.start = window.start.unwrap_or(mag.start);
                mag.end = window.end.unwrap_or(mag.end);
                Box::new(mag)
            }
            _ => Box::new(Off),
        })
    }

    /// The measuring rule, without limits.
    fn rule(&self, steps: usize) -> Option<TeaCache> {
        Some(match self {
            Spec::Tea { threshold, coefficients, negative } => {
                let mut tea = TeaCache::new(*threshold, coefficients.unwrap_or(IDENTITY), steps);
                tea.negative = *negative;
                tea
            }
            Spec::FirstBlock(threshold) => TeaCache::first_block(*threshold, steps),
            Spec::Sea(threshold) => TeaCache::sea(*threshold, steps),
            Spec::Easy(threshold) => TeaCache::easy(*threshold, steps),
            _ => return None,
        })
    }

    /// Whether it is a `tea` that names no coefficients, so that a model's calibration serves it.
    pub fn takes_calibration(&self) -> bool {
        match self {
            Spec::Tea { coefficients, .. } => coefficients.is_none(),
            Spec::Within(base, _) | Spec::Taylor(base) => base.takes_calibration(),
            _ => false,
        }
    }

    /// What can be checked without knowing the number of steps.
    fn check(&self) -> Result<()> {
        match self {
            Spec::Tea { threshold, .. }
            | Spec::FirstBlock(threshold)
            | Spec::Sea(threshold)
            | Spec::Easy(threshold)
            | Spec::Mag { threshold, .. }
                if threshold.is_nan() || *threshold < 0.0 =>
            {
                Err(self.error(THRESHOLD))
            }
            Spec::Tea { coefficients: Some(coefficients), .. }
                if !coefficients.iter().all(|c| c.is_finite()) =>
            {
                Err(self.error("finite coefficients"))
            }
            Spec::Uniform(0) => Err(self.error("uniform:N with N at least 1")),
            Spec::Mask(computes) if computes.first() != Some(&true) => {
                Err(self.error("a mask that begins with 1: there is nothing to reuse yet"))
            }
            Spec::Within(_, Window { max_skips: Some(0), .. }) => {
                Err(self.error("max-skips of at least 1; `off` skips nothing"))
            }
            Spec::Within(base, window) => {
                let limited = match **base {
                    Spec::Mag { .. } => window.max_skips.is_none(),
                    _ => base.rule(1).is_some(),
                };
                if !limited {
                    return Err(self
                        .error("start, end and max-skips of tea, fb, sea or easy, or start and end of mag"));
                }
                base.check()
            }
            Spec::Taylor(inner) => match **inner {
                Spec::Taylor(_) => Err(self.error("one +taylor")),
                _ => inner.check(),
            },
            _ => Ok(()),
        }
    }

    fn error(&self, wanted: impl fmt::Display) -> Error {
        bad(self, wanted)
    }
}

impl Window {
    fn limit(self, mut rule: TeaCache) -> TeaCache {
        // A rule that needs two computed steps to measure anything still gets them: it computes until it can decide.
        rule.warmup = self.start.map_or(rule.warmup, |start| start.max(1));
        rule.end = self.end.unwrap_or(rule.end);
        rule.max_skips = self.max_skips.unwrap_or(rule.max_skips);
        rule
    }
}

/// γ of each step, from a file.
fn magnitudes(file: &Path) -> Result<Vec<f64>> {
    let text = std::fs::read_to_string(file).map_err(|e| Error::file(file, e))?;
    let json: serde_json::Value = serde_json::from_str(&text)
        .map_err(|e| Error::file(file, format!("wanted magnitudes, got no JSON: {e}")))?;
    let list = json.get("magnitudes").unwrap_or(&json).as_array();
    let list = list.map(|list| list.iter().map(|x| x.as_f64().filter(|x| *x > 0.0)).collect::<Option<_>>());
    match list {
        Some(Some(numbers)) if !Vec::is_empty(&numbers) => Ok(numbers),
        _ => {
            Err(Error::file(file, "wanted magnitudes: a list of positive numbers, or an object that has it"))
        }
    }
}

const THRESHOLD: &str = "a threshold from 0 to inf";

impl FromStr for Spec {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (base, window, taylor) = modifiers(text)?;
        let mut spec = base_of(text, base)?;
        if window != Window::default() {
            spec = Spec::Within(Box::new(spec), window);
        }
        if taylor {
            spec = Spec::Taylor(Box::new(spec));
        }
        spec.check()?;
        Ok(spec)
    }
}

/// What stands before the modifiers, and they. Words that are none stay with what they stand behind: a file's name
/// may hold any.
fn modifiers(text: &str) -> Result<(&str, Window, bool)> {
    let (mut base, mut window, mut taylor) = (text, Window::default(), false);
    while let Some((before, word)) = base.rsplit_once('+') {
        let (slot, value) = match word.split_once('=') {
            None if word == "taylor" && !taylor => {
                (base, taylor) = (before, true);
                continue;
            }
            Some(("start", value)) => (&mut window.start, value),
            Some(("end", value)) => (&mut window.end, value),
            Some(("max-skips", value)) => (&mut window.max_skips, value),
            _ => break,
        };
        let number = value.parse().map_err(|_| bad(text, format!("a number of steps, not {value:?}")))?;
        if slot.replace(number).is_some() {
            return Err(bad(text, format!("{word} or another, not both")));
        }
        base = before;
    }
    Ok((base, window, taylor))
}

fn base_of(text: &str, base: &str) -> Result<Spec> {
    let (kind, rest) = match base.split_once(':') {
        Some((kind, rest)) => (kind, Some(rest)),
        None => (base, None),
    };
    Ok(match (kind, rest) {
        ("off", None) => Spec::Off,
        ("uniform", Some(every)) => {
            Spec::Uniform((every.parse()).map_err(|_| bad(text, "uniform:N with N at least 1"))?)
        }
        ("mask", Some(digits)) => Spec::Mask(
            (digits.chars().map(digit).collect::<Option<_>>())
                .ok_or_else(|| bad(text, "a mask of 1 (compute) and 0 (skip)"))?,
        ),
        ("tea", Some(rest)) => tea(text, rest)?,
        ("fb", Some(rest)) => Spec::FirstBlock(threshold(text, rest)?),
        ("sea", Some(rest)) => Spec::Sea(threshold(text, rest)?),
        ("easy", Some(rest)) => Spec::Easy(threshold(text, rest)?),
        ("mag", Some(rest)) => mag(text, rest)?,
        _ => return Err(bad(text, Spec::GRAMMAR)),
    })
}

fn bad(spec: impl fmt::Display, wanted: impl fmt::Display) -> Error {
    Error::setting(format!("cache {:?}", spec.to_string()), wanted)
}

fn digit(digit: char) -> Option<bool> {
    match digit {
        '0' => Some(false),
        '1' => Some(true),
        _ => None,
    }
}

fn threshold(text: &str, part: &str) -> Result<f64> {
    part.parse().map_err(|_| bad(text, THRESHOLD))
}

fn mag(text: &str, rest: &str) -> Result<Spec> {
    let Some((numbers, table)) = rest.split_once('@').filter(|(_, table)| !table.is_empty()) else {
        return Err(bad(text, "mag:THRESHOLD[:K]@FILE, with a file that holds the model's magnitudes"));
    };
    let (delta, most) = match numbers.split_once(':') {
        Some((delta, most)) => (delta, Some(most.parse().map_err(|_| bad(text, "K, a number of steps"))?)),
        None => (numbers, None),
    };
    Ok(Spec::Mag { threshold: threshold(text, delta)?, max_skips: most, table: table.into() })
}

fn tea(text: &str, rest: &str) -> Result<Spec> {
    let mut parts: Vec<&str> = rest.split(':').collect();
    let threshold = threshold(text, parts.remove(0))?;
    let mode = |part: &&str| Negative::ALL.into_iter().find(|mode| mode.name() == *part);
    let mut negative = Negative::default();
    if let Some(found) = parts.last().and_then(mode) {
        negative = found;
        parts.pop();
    }
    let coefficients = match parts[..] {
        [] => None,
        [part] => Some(coefficients(text, part)?),
        _ => return Err(bad(text, Spec::GRAMMAR)),
    };
    Ok(Spec::Tea { threshold, coefficients, negative })
}

fn coefficients(text: &str, part: &str) -> Result<[f64; 5]> {
    if part.contains(',') {
        let numbers: Option<Vec<f64>> = part.split(',').map(|c| c.parse().ok()).collect();
        return (numbers.and_then(|c| c.try_into().ok()))
            .ok_or_else(|| bad(text, "five numbers c4,c3,c2,c1,c0, highest power first"));
    }
    if part == IDENTITY_NAME {
        return Ok(IDENTITY);
    }
    find(part).map(|set| set.coefficients).ok_or_else(|| {
        let names: Vec<&str> = [IDENTITY_NAME].into_iter().chain(SETS.iter().map(|set| set.name)).collect();
        let names = names.join(", ");
        bad(text, format!("five numbers c4,c3,c2,c1,c0; raw, clamp or abs; or one of {names}"))
    })
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Spec::Off => write!(f, "off"),
            Spec::FirstBlock(threshold) => write!(f, "fb:{threshold}"),
            Spec::Sea(threshold) => write!(f, "sea:{threshold}"),
            Spec::Easy(threshold) => write!(f, "easy:{threshold}"),
            Spec::Mag { threshold, max_skips, table } => {
                write!(f, "mag:{threshold}")?;
                max_skips.map_or(Ok(()), |most| write!(f, ":{most}"))?;
                write!(f, "@{}", table.display())
            }
            Spec::Within(base, window) => {
                write!(f, "{base}")?;
                let Window { start, end, max_skips } = window;
                for (name, value) in [("start", start), ("end", end), ("max-skips", max_skips)] {
                    value.map_or(Ok(()), |value| write!(f, "+{name}={value}"))?;
                }
                Ok(())
            }
            Spec::Taylor(inner) => write!(f, "{inner}+taylor"),
            Spec::Uniform(every) => write!(f, "uniform:{every}"),
            Spec::Mask(computes) => {
                let digits: String = computes.iter().map(|c| if *c { '1' } else { '0' }).collect();
                write!(f, "mask:{digits}")
            }
            Spec::Tea { threshold, coefficients, negative } => {
                write!(f, "tea:{threshold}")?;
                if let Some(c) = coefficients {
                    match SETS.iter().find(|set| set.coefficients == *c) {
                        Some(set) => write!(f, ":{}", set.name)?,
                        None if *c == IDENTITY => write!(f, ":{IDENTITY_NAME}")?,
                        None => write!(f, ":{},{},{},{},{}", c[0], c[1], c[2], c[3], c[4])?,
                    }
                }
                if *negative != Negative::default() {
                    write!(f, ":{}", negative.name())?;
                }
                Ok(())
            }
        }
    }
}
