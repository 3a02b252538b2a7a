//! How fast ops are, beside ceilings of the same minute.

use serde::Serialize;

use super::{Ceilings, Seen, Watch};
use crate::cases::bench::{Bench, Bound, Rating};
use crate::{DType, Device, Result};

/// An op with one source and shape, timed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Timed {
    /// The op, or `forward`: one evaluation of the whole model.
    pub op: &'static str,
    /// Which of its sources; `best` of `forward`, which runs the best of each op.
    pub source: &'static str,
    /// For people: `4096×1152`.
    pub shape: String,
    /// The type of matrix operands.
    pub dtype: DType,
    /// The largest error, as a share of the largest number in the result.
    pub error: f64,
    /// Bytes that must be moved; 0 where nobody counts them.
    pub bytes: usize,
    /// Multiplications and additions of matrix products; 0 where memory is the limit.
    pub flops: usize,
    /// Operations of the formula, of which a roofline is made; see [`Sizes`](crate::cases::Sizes).
    pub operations: usize,
    /// Milliseconds of one run, a number for each round: the median of those within it.
    pub samples_ms: Vec<f64>,
    /// The median of the rounds.
    pub ms: f64,
    /// The first quartile of the rounds.
    pub low_ms: f64,
    /// The third.
    pub high_ms: f64,
    /// 10⁹ bytes per second, where bytes are counted.
    pub gbps: Option<f64>,
    /// 10⁹ operations per second, where there are matrix products.
    pub gflops: Option<f64>,
    /// What limits it: `copy` or `matmul`.
    pub bound: &'static str,
    /// The ceiling, in the unit of the rate: the median over rounds of what was measured beside each.
    pub ceiling: f64,
    /// Percent of the ceiling: 100 · rate / ceiling. None where the rate is above it, so that it is no ceiling.
    pub ceiling_pct: Option<f64>,
    /// Whether the operands fit into a cache and were left there, so that a copy from memory is no ceiling.
    pub in_cache: bool,
    /// Whether each repetition had operands of its own, too many for any cache.
    pub cold: bool,
    /// Of the source that calls run when nobody prefers one: another one that was faster here, by more than a twentieth and
    /// more than the rounds differ. There should be none.
    pub outrun_by: Option<&'static str>,
}

/// How long, and on which operands.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// Rounds; each goes through the ceiling and all sources in turn, so that a slow moment hits all of them.
    pub rounds: usize,
    /// Seconds for each source in each round.
    pub seconds: f64,
    /// Go from operands to other operands, so that no cache holds them.
    pub cold: bool,
}

impl Timing {
    /// Five rounds of 0.06 s. On a GPU always cold: nothing else is like the work in a model.
    pub fn of(device: &Device, cold: bool) -> Timing {
        Timing { rounds: 5, seconds: 0.06, cold: cold || device.is_gpu() }
    }
}

/// A source that takes longer runs in one round only.
const SLOW: f64 = 1.0;

/// Verifies a bench with every source that fits, best first, then times them in rounds and verifies them again.
///
/// # Errors
///
/// If a result is wrong, the device fails, or `watch` does.
pub async fn time_cases(
    mut bench: Bench,
    ceilings: &mut Ceilings,
    timing: Timing,
    watch: Watch<'_>,
) -> Result<Vec<Timed>> {
    let device = ceilings.device().clone();
    let mut sources = vec![];
    for source in bench.sources() {
        let error = preferring(&device, source, bench.verify()).await?;
        // Not all sources take all shapes.
        if bench.took(source) {
            sources.push((source, error));
        }
    }
    bench.verify().await?;
    let chosen = sources.iter().position(|(source, _)| bench.took(source)).unwrap_or_default();
    if timing.cold {
        bench.rotate()?;
    }
    let bound = bench.bound();
    let amount = if bound == Bound::Copy { bench.bytes } else { bench.flops } as f64;
    let mut seconds = vec![vec![]; sources.len()];
    let mut shares = seconds.clone();
    for round in 0..timing.rounds {
        watch(Seen::Next { op: bench.op, shape: &bench.shape, done: round, of: timing.rounds })?;
        let ceiling = ceilings.measure(bound, timing.seconds).await?;
        for (i, (source, _)) in sources.iter().enumerate() {
            if seconds[i].iter().any(|&s| s > SLOW) {
                continue;
            }
            let timed = preferring(&device, source, bench.time(timing.seconds)).await?;
            seconds[i].push(timed);
            shares[i].push(amount / timed / ceiling);
        }
    }
    let mut all = vec![];
    let outrun_by = faster(&seconds, chosen).map(|other| sources[other].0);
    for (i, (source, error)) in sources.into_iter().enumerate() {
        preferring(&device, source, bench.verify()).await?;
        let mut row = Timed::new(&bench, (source, error), &seconds[i], &shares[i], timing.cold);
        row.outrun_by = outrun_by.filter(|_| i == chosen);
        watch(Seen::Timed(&row))?;
        all.push(row);
    }
    Ok(all)
}

/// Of sources with these times, round by round, one that is faster than the chosen one beyond doubt: by a twentieth in the
/// median, and by a fiftieth in three rounds of four. The fastest of those, if there are any.
fn faster(seconds: &[Vec<f64>], chosen: usize) -> Option<usize> {
    let ahead = |i: usize| -> Option<(f64, usize)> {
        let ratios: Vec<f64> =
            seconds[chosen].iter().zip(&seconds[i]).map(|(ours, its)| ours / its).collect();
        let median = quantile(&ratios, 0.5);
        (median > 1.05 && quantile(&ratios, 0.25) > 1.02).then_some((median, i))
    };
    (0..seconds.len()).filter_map(ahead).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, i)| i)
}

/// What `work` gives while the device prefers a source.
async fn preferring<T>(
    device: &Device,
    source: &'static str,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    device.prefer(Some(source));
    let result = work.await;
    device.prefer(None);
    result
}

/// A quantile of some numbers, between neighbours by their distance: 0.5 is the median.
fn quantile(of: &[f64], q: f64) -> f64 {
    let mut sorted = of.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = q * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    below + at.fract() * (above - below)
}

impl Timed {
    fn new(
        bench: &Bench,
        (source, error): (&'static str, f64),
        seconds: &[f64],
        shares: &[f64],
        cold: bool,
    ) -> Timed {
        let ms = |q| 1e3 * quantile(seconds, q);
        let rate = |amount: usize| (amount > 0).then(|| amount as f64 / ms(0.5) / 1e6);
        let (gbps, gflops) = (rate(bench.bytes), rate(bench.flops));
        let share = quantile(shares, 0.5);
        let rating = Rating::of(bench.bound(), share, bench.cached());
        let (bound, limited) = match bench.bound() {
            Bound::Copy => ("copy", gbps),
            Bound::Matmul => ("matmul", gflops),
        };
        Timed {
            op: bench.op,
            source,
            shape: bench.shape.clone(),
            dtype: bench.dtype,
            error,
            bytes: bench.bytes,
            flops: bench.flops,
            operations: bench.operations,
            samples_ms: seconds.iter().map(|s| 1e3 * s).collect(),
            ms: ms(0.5),
            low_ms: ms(0.25),
            high_ms: ms(0.75),
            gbps,
            gflops,
            bound,
            ceiling: limited.unwrap_or_default() / share,
            ceiling_pct: match rating {
                Rating::Share(share) => Some(100.0 * share),
                _ => None,
            },
            in_cache: rating == Rating::InCache,
            cold,
            outrun_by: None,
        }
    }

    /// The rate, for people: `12.3 GB/s`.
    pub fn rate(&self) -> String {
        match (self.gflops, self.gbps) {
            (Some(gflops), _) => format!("{gflops:.1} GFLOP/s"),
            (None, gbps) => format!("{:.1} GB/s", gbps.unwrap_or_default()),
        }
    }

    /// The ceiling and the share of it that was reached, for people: ` 92 % of copy 12.3 GB/s`.
    pub fn rating(&self) -> String {
        let unit = if self.gflops.is_some() { "GFLOP/s" } else { "GB/s" };
        let ceiling = format!("{} {:.1} {unit}", self.bound, self.ceiling);
        let rating = match self.ceiling_pct {
            Some(percent) => format!("{percent:3.0} % of {ceiling}"),
            None if self.in_cache => format!("in cache, above {ceiling}"),
            None => format!("above {ceiling}"),
        };
        match self.outrun_by {
            Some(other) => format!("{rating}; {other} is faster"),
            None => rating,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_between_neighbours() {
        let of = [4.0, 1.0, 3.0, 2.0, 10.0];
        assert_eq!([0.0, 0.25, 0.5, 0.75, 1.0].map(|q| quantile(&of, q)), [1.0, 2.0, 3.0, 4.0, 10.0]);
        assert_eq!(quantile(&[1.0, 2.0], 0.25), 1.25);
        assert_eq!(quantile(&[7.0], 0.75), 7.0);
    }

    #[test]
    fn a_source_is_outrun_where_rounds_agree() {
        let steady = |s: f64| vec![s; 5];
        // The chosen one is the fastest; another one is, by too little, and by enough.
        assert_eq!(faster(&[steady(1.0), steady(1.2), steady(3.0)], 0), None);
        assert_eq!(faster(&[steady(1.0), steady(0.96)], 0), None);
        assert_eq!(faster(&[steady(1.0), steady(0.9), steady(0.8)], 0), Some(2));
        assert_eq!(faster(&[steady(1.0), steady(0.9), steady(0.8)], 2), None);
        // Rounds that do not agree say nothing; a single one of a slow source does.
        assert_eq!(faster(&[steady(1.0), vec![0.5, 0.5, 0.5, 1.5, 1.5]], 0), None);
        assert_eq!(faster(&[vec![3.0], vec![2.0]], 0), Some(1));
    }
}
