//! Which seeds are ours, where a comparison is cut into parts.

use steep::{Error, Result};

/// The i-th of n parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// From 0.
    pub index: u64,
    pub of: u64,
}

/// There are no more seeds than this.
const MOST: u64 = 1_000_000;

impl Shard {
    /// `i/n` from 1/n to n/n; `auto` asks the environment; all of it where nothing is said.
    pub fn of(text: Option<&str>, count: Option<u64>) -> Result<Shard> {
        Shard::read(text, count, |name| std::env::var(name).ok())
    }

    fn read(
        text: Option<&str>,
        count: Option<u64>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Shard> {
        let wrong = |what: String| {
            Error::setting(what, format!("i/n with i from 1 to n and n up to {MOST}, or auto"))
        };
        let Some(text) = text else { return Ok(Shard { index: 0, of: 1 }) };
        if text != "auto" {
            let parts =
                text.split_once('/').and_then(|(i, n)| Some((i.parse::<u64>().ok()?, n.parse().ok()?)));
            return match parts {
                Some((i, of)) if (1..=of).contains(&i) && of <= MOST => Ok(Shard { index: i - 1, of }),
                _ => Err(wrong(format!("shard {text:?}"))),
            };
        }
        let number = |name: &str| match variable(name) {
            None => Ok(None),
            Some(value) => value.parse::<u64>().map(Some).map_err(|_| {
                Error::setting(format!("{name}={value:?}"), "a number, as the scheduler sets it")
            }),
        };
        let (index, of, whence) = match number("SLURM_ARRAY_TASK_ID")? {
            Some(id) => {
                // An array may begin anywhere and go in strides: --array=10-40:10.
                let first = number("SLURM_ARRAY_TASK_MIN")?.unwrap_or(0);
                let stride = number("SLURM_ARRAY_TASK_STEP")?.unwrap_or(1).max(1);
                let of = count.or(number("SLURM_ARRAY_TASK_COUNT")?);
                (id.checked_sub(first).map(|i| i / stride), of, "SLURM_ARRAY_TASK_ID")
            }
            None => (number("JOB_COMPLETION_INDEX")?, count, "JOB_COMPLETION_INDEX"),
        };
        match (index, of) {
            (Some(index), Some(of)) if index < of => Ok(Shard { index, of }),
            (Some(index), Some(of)) => {
                let what = format!("shard auto: place {index} by {whence}");
                Err(Error::setting(what, format!("less than the {of} parts")))
            }
            (Some(_), None) => Err(Error::setting("shard auto without a number of parts", "--shards N")),
            (None, _) => {
                let wanted = "SLURM_ARRAY_TASK_ID or JOB_COMPLETION_INDEX in the environment, or i/n";
                Err(Error::setting("shard auto", wanted))
            }
        }
    }

    /// Whether the seed at this place among all is ours.
    pub fn has(&self, place: u64) -> bool {
        place % self.of == self.index
    }

    /// The file of our rounds.
    pub fn journal(&self) -> String {
        match self.of {
            1 => "rounds.jsonl".into(),
            of => format!("rounds-{}of{of}.jsonl", self.index + 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, count: Option<u64>, set: &[(&str, &str)]) -> Result<Shard> {
        let find = |name: &str| set.iter().find(|(n, _)| *n == name).map(|(_, v)| v.to_string());
        Shard::read(Some(text), count, find)
    }

    #[test]
    fn schedulers_are_understood() {
        let slurm = |id, more: &[(&'static str, &'static str)]| {
            read(
                "auto",
                None,
                &[&[("SLURM_ARRAY_TASK_ID", id), ("SLURM_ARRAY_TASK_COUNT", "4")], more].concat(),
            )
        };
        assert_eq!(slurm("3", &[]), Ok(Shard { index: 3, of: 4 }));
        let strided = [("SLURM_ARRAY_TASK_MIN", "10"), ("SLURM_ARRAY_TASK_STEP", "10")];
        assert_eq!(slurm("10", &strided), Ok(Shard { index: 0, of: 4 }));
        assert_eq!(slurm("40", &strided), Ok(Shard { index: 3, of: 4 }));
        assert_eq!(slurm("4", &[("SLURM_ARRAY_TASK_MIN", "1")]), Ok(Shard { index: 3, of: 4 }));
        assert!(slurm("4", &[]).is_err() && slurm("x", &[]).is_err());
        assert_eq!(read("auto", Some(3), &[("JOB_COMPLETION_INDEX", "2")]), Ok(Shard { index: 2, of: 3 }));
        assert!(read("auto", None, &[("JOB_COMPLETION_INDEX", "2")]).is_err());
        assert!(read("auto", Some(2), &[("JOB_COMPLETION_INDEX", "2")]).is_err());
        assert!(read("auto", Some(2), &[]).is_err());
    }

    #[test]
    fn parts_are_a_partition() {
        for n in 1..6 {
            for place in 0..40 {
                let ours = (1..=n).filter(|i| read(&format!("{i}/{n}"), None, &[]).unwrap().has(place));
                assert_eq!(ours.count(), 1);
            }
        }
        for bad in ["3/2", "0/2", "1/0", "1", "a/2", "-1/2", "1/2/3", ""] {
            assert!(read(bad, None, &[]).is_err(), "{bad}");
        }
    }
}
