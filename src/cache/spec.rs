//! A cache policy as a user writes it.

use std::fmt;
use std::str::FromStr;

use super::{IDENTITY, Mask, Negative, Off, Policy, SETS, TeaCache, Uniform, find};
use crate::{Error, Result};

const GRAMMAR: &str = "off, uniform:N, mask:1011..., or \
    tea:THRESHOLD[:NAME or :c4,c3,c2,c1,c0][:raw, :clamp or :abs]";
/// Names [`IDENTITY`].
const IDENTITY_NAME: &str = "identity";

/// A cache policy as a user writes it: `off`, `uniform:3`, `mask:1011`, `tea:0.2`, `tea:0.2:latte-1`,
/// `tea:0.2:0,0,0,1,0:raw`.
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
    /// [`Uniform`]: one step in so many computes.
    Uniform(usize),
    /// [`Mask`]: whether each step computes.
    Mask(Vec<bool>),
}

impl Spec {
    /// The policy for one generation of `steps` steps.
    pub fn policy(&self, steps: usize) -> Result<Box<dyn Policy>> {
        self.check()?;
        if steps == 0 {
            return Err(Error::setting("steps 0", "at least 1"));
        }
        Ok(match self {
            Spec::Off => Box::new(Off),
            Spec::Tea { threshold, coefficients, negative } => {
                let mut tea = TeaCache::new(*threshold, coefficients.unwrap_or(IDENTITY), steps);
                tea.negative = *negative;
                Box::new(tea)
            }
            Spec::Uniform(every) => Box::new(Uniform { every: *every, steps }),
            Spec::Mask(computes) if computes.len() == steps => Box::new(Mask { computes: computes.clone() }),
            Spec::Mask(computes) => {
                let wanted = format!("{steps} digits, one per step, got {}", computes.len());
                return Err(self.error(wanted));
            }
        })
    }

    /// Whether it is a `tea` that names no coefficients, so that a model's calibration serves it.
    pub fn takes_calibration(&self) -> bool {
        matches!(self, Spec::Tea { coefficients: None, .. })
    }

    /// What can be checked without knowing the number of steps.
    fn check(&self) -> Result<()> {
        match self {
            Spec::Tea { threshold, .. } if threshold.is_nan() || *threshold < 0.0 => {
                Err(self.error("a threshold from 0 to inf"))
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
            _ => Ok(()),
        }
    }

    fn error(&self, wanted: impl fmt::Display) -> Error {
        bad(self, wanted)
    }
}

impl FromStr for Spec {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (kind, rest) = match text.split_once(':') {
            Some((kind, rest)) => (kind, Some(rest)),
            None => (text, None),
        };
        let spec = match (kind, rest) {
            ("off", None) => Spec::Off,
            ("uniform", Some(every)) => {
                Spec::Uniform((every.parse()).map_err(|_| bad(text, "uniform:N with N at least 1"))?)
            }
            ("mask", Some(digits)) => Spec::Mask(
                (digits.chars().map(digit).collect::<Option<_>>())
                    .ok_or_else(|| bad(text, "a mask of 1 (compute) and 0 (skip)"))?,
            ),
            ("tea", Some(rest)) => tea(text, rest)?,
            _ => return Err(bad(text, GRAMMAR)),
        };
        spec.check()?;
        Ok(spec)
    }
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

fn tea(text: &str, rest: &str) -> Result<Spec> {
    let mut parts: Vec<&str> = rest.split(':').collect();
    let threshold = (parts.remove(0).parse()).map_err(|_| bad(text, "a threshold from 0 to inf"))?;
    let mode = |part: &&str| Negative::ALL.into_iter().find(|mode| mode.name() == *part);
    let mut negative = Negative::default();
    if let Some(found) = parts.last().and_then(mode) {
        negative = found;
        parts.pop();
    }
    let coefficients = match parts[..] {
        [] => None,
        [part] => Some(coefficients(text, part)?),
        _ => return Err(bad(text, GRAMMAR)),
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
