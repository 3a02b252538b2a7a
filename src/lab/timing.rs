//! How fast a candidate is, among the op's own sources.

use serde::Serialize;

use super::trial::Substituted;
use super::{Candidate, Filter, LABEL};
use crate::cases::bench::Bench;
use crate::evaluate::metrics::speedup;
use crate::results::{Ceilings, Timed, Timing, Watch, time_cases};
use crate::{Device, Result};

/// A candidate beside the best of the op's own sources, for one shape.
#[derive(Debug, Clone, Serialize)]
pub struct Ratio {
    /// The shape.
    pub shape: String,
    /// The type of the matrix operands.
    pub dtype: String,
    /// The label of the best source of the op's own.
    pub best: &'static str,
    /// How many times as fast as that one the candidate is.
    pub ratio: f64,
    /// Half the width of the ratio's 95 % interval, over rounds that both had; None for fewer than two.
    pub half: Option<f64>,
}

/// Times `sizes`, or where there are none the shapes that the op is benchmarked with, in rounds that go through the
/// candidate, the op's own sources and the ceiling in turn. All are verified before and again after. Returns a row for each
/// source and shape, and the candidate's ratio for each shape that it takes. `cold` as in [`Timing`].
///
/// # Errors
///
/// If a result is wrong, the device fails, or `watch` says so.
pub async fn time(
    device: &Device,
    candidate: &Candidate,
    filter: &Filter,
    (sizes, cold): (&[String], bool),
    watch: Watch<'_>,
) -> Result<(Vec<Timed>, Vec<Ratio>)> {
    device.substitute(Some((candidate.op.kernel, candidate.source())));
    let _substituted = Substituted(device);
    let (mut rows, mut ratios) = (vec![], vec![]);
    let dtypes =
        candidate.dtypes.iter().copied().filter(|&dtype| filter.dtype.is_none_or(|only| only == dtype));
    for dtype in dtypes {
        let mut ceilings = Ceilings::new(device, dtype)?;
        let cases = match sizes.is_empty() {
            true => candidate.op.benches(dtype),
            false => sizes.iter().map(|size| candidate.op.sized(dtype, size)).collect::<Result<_>>()?,
        };
        for mut case in cases.into_iter().filter(|case| filter.names(case)) {
            filter.renew(&mut case);
            let bench = Bench::new(device, case)?;
            let timed = time_cases(bench, &mut ceilings, Timing::of(device, cold), watch).await?;
            ratios.extend(ratio(&timed));
            rows.extend(timed);
        }
    }
    Ok((rows, ratios))
}

/// Of one shape's rows.
fn ratio(rows: &[Timed]) -> Option<Ratio> {
    let ours = rows.iter().find(|row| row.source == LABEL)?;
    let best = rows.iter().filter(|row| row.source != LABEL).min_by(|a, b| a.ms.total_cmp(&b.ms))?;
    let pairs: Vec<[f64; 2]> =
        best.samples_ms.iter().zip(&ours.samples_ms).map(|(best, ours)| [*best, *ours]).collect();
    let found = speedup(&pairs);
    let (shape, dtype) = (ours.shape.clone(), ours.dtype.to_string());
    Some(Ratio { shape, dtype, best: best.source, ratio: found.value, half: found.half })
}
