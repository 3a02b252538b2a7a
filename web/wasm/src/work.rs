//! Work on kernels: verifying them, timing them, trying one of the visitor's.

use js_sys::Function;
use serde::Deserialize;
use serde_json::{Value, json};
use steep::cases::bench::Bench;
use steep::cases::{ALL, Op, forward};
use steep::lab::{Candidate, Filter, trial};
use steep::model::Checkpoint;
use steep::results::{Ceilings, Machine, OnDevice, Results, Seen, Timing, time_cases, verify};
use steep::{DType, Device, Error, Result};
use wasm_bindgen::prelude::*;

use crate::settings::parse;

/// What to look at, and how long. What is left out is all of it.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Work {
    /// Ops by their names, `forward` among them; none are all.
    ops: Vec<String>,
    dtypes: Vec<String>,
    rounds: usize,
    /// For each source in each round.
    seconds: f64,
    /// What the page knows of the machine: `{os, browser, threads}`.
    machine: Value,
}

impl Default for Work {
    fn default() -> Work {
        let dtypes = vec!["f32".into(), "f16".into(), "bf16".into()];
        Work { ops: vec![], dtypes, rounds: 3, seconds: 0.06, machine: Value::Null }
    }
}

impl Work {
    pub fn parse(text: &str) -> Result<Work> {
        let work: Work = parse(text)?;
        let unknown =
            work.ops.iter().find(|name| *name != FORWARD && !ALL.iter().any(|op| op.kernel.name == **name));
        match unknown {
            Some(name) => Err(Error::setting(format!("op {name:?}"), "the name of an op, or forward")),
            None => work.dtypes().map(|_| work),
        }
    }

    fn dtypes(&self) -> Result<Vec<DType>> {
        self.dtypes.iter().map(|name| name.parse()).collect()
    }

    fn wants(&self, op: &str) -> bool {
        self.ops.is_empty() || self.ops.iter().any(|name| name == op)
    }

    /// The machine, as far as the page knows it.
    fn machine(&self) -> Machine {
        let text = |name: &str| self.machine[name].as_str().map(str::to_string);
        Machine {
            os: text("os").unwrap_or_default(),
            arch: text("arch").unwrap_or_else(|| "wasm32".into()),
            processor: None,
            threads: self.machine["threads"].as_u64().unwrap_or(1) as usize,
            mhz: None,
            browser: text("browser"),
        }
    }

    /// What was found on a device, in the format of docs/results.md.
    pub fn file(&self, found: OnDevice) -> Results {
        let mut results = Results::new(self.machine());
        results.devices.push(found);
        results
    }

    /// Runs all cases of the ops with every source.
    pub async fn verify(&self, device: &Device, call: &Function) -> Result<Value> {
        let dtypes = self.dtypes()?;
        let wanted = |op: &Op, dtype| self.wants(op.kernel.name) && dtypes.contains(&dtype);
        let mut found = OnDevice::new(device);
        found.verified = verify(device, &wanted, &mut |seen| tell(call, seen)).await?;
        Ok(json!(self.file(found)))
    }

    /// Times the ops' benches, each beside the ceiling that was measured next to it.
    pub async fn bench(&self, device: &Device, checkpoint: &Checkpoint, call: &Function) -> Result<Value> {
        let timing =
            Timing { rounds: self.rounds.max(1), seconds: self.seconds, ..Timing::of(device, false) };
        let mut found = OnDevice::new(device);
        for dtype in self.dtypes()? {
            let mut ceilings = Ceilings::new(device, dtype)?;
            let mut watch = |seen: Seen<'_>| tell(call, seen);
            for op in ALL.iter().filter(|op| self.wants(op.kernel.name) && op.dtypes.contains(&dtype)) {
                for case in op.benches(dtype) {
                    let bench = Bench::new(device, case)?;
                    found.timed.extend(time_cases(bench, &mut ceilings, timing, &mut watch).await?);
                }
            }
            if self.wants(FORWARD) {
                let bench = forward::bench(device, checkpoint, dtype, 2).await?;
                found.timed.extend(time_cases(bench, &mut ceilings, timing, &mut watch).await?);
            }
        }
        Ok(json!(self.file(found)))
    }
}

const FORWARD: &str = "forward";

/// How a kernel of the visitor's is tried.
#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub struct Try {
    /// Where the entry point has another name than the op.
    op: Option<String>,
    dtype: Option<String>,
    shape: Option<String>,
    /// Cases of no more work than this.
    largest: Option<usize>,
    values: u64,
    /// Whether it is timed beside the op's own sources once nothing is wrong.
    time: bool,
    rounds: Option<usize>,
    seconds: Option<f64>,
}

impl Try {
    pub fn parse(text: &str) -> Result<Try> {
        parse(text)
    }

    /// Runs the cases of the op, then times the kernel in turn with the op's own.
    pub async fn run(&self, device: &Device, file: &str, text: &str, call: &Function) -> Result<Value> {
        let candidate = Candidate::parse(file, text, self.op.as_deref())?;
        let dtype = self.dtype.as_ref().map(|name| name.parse()).transpose()?;
        let filter = Filter { dtype, shape: self.shape.clone(), largest: self.largest, values: self.values };
        let report = trial(device, &candidate, &filter, &mut |progress| {
            let event = json!({
                "case": progress.case.name,
                "dtype": progress.case.dtype.name(),
                "done": progress.at,
                "of": progress.of,
                "findings": progress.findings,
            });
            // A trial goes through all of its cases; who wants none of it ends the worker.
            let _ = call.call1(&JsValue::NULL, &event.to_string().into());
        })
        .await?;
        let mut timed = vec![];
        if self.time && report.passed() {
            let dtype = dtype.or(candidate.dtypes.first().copied()).unwrap_or(DType::F32);
            let timing = Timing::of(device, false);
            let timing = Timing {
                rounds: self.rounds.unwrap_or(timing.rounds).max(1),
                seconds: self.seconds.unwrap_or(timing.seconds),
                ..timing
            };
            let mut ceilings = Ceilings::new(device, dtype)?;
            device.substitute(Some((candidate.op.kernel, candidate.source())));
            let mut all = Ok(());
            for case in candidate.op.benches(dtype) {
                let bench = match Bench::new(device, case) {
                    Ok(bench) => time_cases(bench, &mut ceilings, timing, &mut |seen| tell(call, seen)).await,
                    Err(e) => Err(e),
                };
                match bench {
                    Ok(rows) => timed.extend(rows),
                    Err(e) => {
                        all = Err(e);
                        break;
                    }
                }
            }
            device.substitute(None);
            all?;
        }
        Ok(json!({ "passed": report.passed(), "report": report, "timed": timed }))
    }
}

/// Hands to the page what happened. Where it answers `false`, or throws, the work ends.
fn tell(call: &Function, seen: Seen<'_>) -> Result<()> {
    let event = match seen {
        Seen::Next { op, shape, done, of } => json!({ "op": op, "shape": shape, "done": done, "of": of }),
        Seen::Verified(row) => json!({ "verified": row }),
        Seen::Timed(row) => json!({ "timed": row }),
    };
    match call.call1(&JsValue::NULL, &event.to_string().into()) {
        Ok(answer) if answer != JsValue::FALSE => Ok(()),
        _ => Err(Error::Interrupted),
    }
}
