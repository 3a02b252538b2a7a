//! What verbs that make many clips share: which classes.

use std::fmt;
use std::str::FromStr;

use steep::model::Config;
use steep::sample::Run;
use steep::video::Video;
use steep::{Error, Result};

/// `all`, `cycle` (one for each seed, in turn), or class numbers with commas between.
#[derive(Clone, Debug, PartialEq)]
pub enum Classes {
    All,
    Cycle,
    Some(Vec<usize>),
}

impl FromStr for Classes {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = |wanted: String| Error::setting(format!("classes {text:?}"), wanted);
        if let Some(known) = [Classes::All, Classes::Cycle].into_iter().find(|c| c.to_string() == text) {
            return Ok(known);
        }
        let number = |word: &str| {
            let wanted = "all, cycle, or class numbers with commas between";
            word.trim().parse::<usize>().map_err(|_| wrong(format!("{wanted}, not {word:?}")))
        };
        let mut numbers = text.split(',').map(number).collect::<Result<Vec<_>>>()?;
        numbers.sort_unstable();
        match numbers.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(twice) => Err(wrong(format!("each class once, not {} twice", twice[0]))),
            None => Ok(Classes::Some(numbers)),
        }
    }
}

impl fmt::Display for Classes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Classes::All => write!(f, "all"),
            Classes::Cycle => write!(f, "cycle"),
            Classes::Some(classes) => {
                let numbers: Vec<String> = classes.iter().map(usize::to_string).collect();
                write!(f, "{}", numbers.join(","))
            }
        }
    }
}

impl Classes {
    /// Checks that a model has them.
    pub fn check(&self, config: &Config) -> Result<()> {
        let last = config.labels() - 1;
        match self {
            Classes::Some(classes) => match classes.iter().find(|class| **class > last) {
                Some(class) => Err(Error::setting(format!("class {class}"), format!("0 to {last}"))),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// Those of a seed.
    pub fn of(&self, seed: u64, config: &Config) -> Vec<usize> {
        match self {
            Classes::All => (0..config.labels()).collect(),
            Classes::Cycle => vec![(seed % config.labels() as u64) as usize],
            Classes::Some(classes) => classes.clone(),
        }
    }
}

/// The one clip of a run.
pub fn only(run: &Run) -> Result<Video> {
    let clip = run.videos()?.pop();
    clip.ok_or_else(|| Error::setting("no clip", "one"))
}
