//! Which sources of which ops are right.

use serde::Serialize;

use super::{Seen, Watch};
use crate::cases::run::{Ready, Trial, sources};
use crate::cases::{ALL, Case, Finding, Op};
use crate::{DType, Device, Error, Result};

/// An op with one source and type of operands, after all of its cases.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verified {
    /// The op.
    pub op: &'static str,
    /// Which of its sources.
    pub source: &'static str,
    /// The type of matrix operands.
    pub dtype: DType,
    /// How many cases there are of that source's shapes.
    pub cases: usize,
    /// How many of them are wrong.
    pub wrong: usize,
    /// The largest error of a right case as a share of what is allowed, 0 to 1.
    pub of_bound: f64,
    /// The largest error of an element of a right case, as a share of the largest number in its tensor.
    pub error: f64,
    /// What is wrong, of the smallest case that is: its shape, then the fault.
    pub fault: Option<String>,
}

/// Runs the cases of every op that is `wanted` on a device, with each source in turn, and compares what they give with
/// naive f64 loops. A case that is wrong, or that the device refuses, is a finding, and the work goes on.
///
/// # Errors
///
/// What `watch` returns; or that the device is lost.
pub async fn verify(
    device: &Device,
    wanted: &dyn Fn(&Op, DType) -> bool,
    watch: Watch<'_>,
) -> Result<Vec<Verified>> {
    let mut groups: Vec<(&Op, DType, Vec<Case>)> = vec![];
    for op in ALL {
        for &dtype in op.dtypes.iter().filter(|&&dtype| wanted(op, dtype)) {
            let cases = (op.cases)(dtype).into_iter().filter(|case| case.purpose.is_tested());
            groups.push((op, dtype, cases.collect()));
        }
    }
    let of = groups.iter().map(|(.., cases)| cases.len()).sum();
    let (mut all, mut done) = (vec![], 0);
    for (op, dtype, mut cases) in groups {
        // The first fault is then that of the smallest case.
        cases.sort_by_key(Case::work);
        let new = |source| Verified {
            op: op.kernel.name,
            source,
            dtype,
            cases: 0,
            wrong: 0,
            of_bound: 0.0,
            error: 0.0,
            fault: None,
        };
        let mut rows: Vec<Verified> = sources(device, op.kernel).into_iter().map(new).collect();
        for case in &cases {
            watch(Seen::Next { op: op.kernel.name, shape: &case.name, done, of })?;
            let ready = Ready::new(case);
            for row in &mut rows {
                row.add(&case.name, run(&ready, device, row.source).await?);
            }
            done += 1;
        }
        for row in rows {
            watch(Seen::Verified(&row))?;
            all.push(row);
        }
    }
    Ok(all)
}

/// What a source makes of a case, or that it does not take it; or what the device said.
async fn run(
    ready: &Ready<'_>,
    device: &Device,
    source: &'static str,
) -> Result<Result<Option<Vec<Finding>>>> {
    let mut found = Trial::new(ready, device, true);
    let found = match &mut found {
        Ok(trial) => trial.check(source).await,
        Err(e) => Err(e.clone()),
    };
    if let Err(Error::Device { why, .. }) = &found {
        // A device that is gone has nothing more to tell.
        if why.starts_with("lost: ") {
            return found.map(Ok);
        }
        device.forgive();
    }
    Ok(found)
}

impl Verified {
    fn add(&mut self, case: &str, found: Result<Option<Vec<Finding>>>) {
        let found = match found {
            Ok(None) => return,
            Ok(Some(found)) => found,
            Err(e) => vec![Finding::plain("the call", Some(e.to_string()))],
        };
        self.cases += 1;
        let faults: Vec<&String> = found.iter().filter_map(|finding| finding.fault.as_ref()).collect();
        match faults[..] {
            [] => {
                for Finding { error, most, share, .. } in found {
                    self.error = self.error.max(share);
                    self.of_bound = self.of_bound.max(if most > 0.0 { error / most } else { 0.0 });
                }
            }
            [first, ..] => {
                self.wrong += 1;
                self.fault.get_or_insert_with(|| format!("{case}: {first}"));
            }
        }
    }
}
