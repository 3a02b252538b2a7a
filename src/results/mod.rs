//! What was found out about devices, in one format: which ops are right, how fast they are, and beside which ceiling.
//!
//! [`verify`] and [`time_cases`] find it out, [`Results`] is the file. `steep verify --json` and `steep bench --json` print
//! one, and a browser page can make the same. `docs/results.md` describes it key by key.

mod ceilings;
mod machine;
mod timed;
mod verified;

pub use ceilings::Ceilings;
pub use machine::{Machine, processor};
use serde::Serialize;
use serde_json::Value;
pub use timed::{Timed, Timing, time_cases};
pub use verified::{Verified, verify};

use crate::cases::bench::Bound;
use crate::device::Facts;
use crate::{Device, Result};

/// The name and number of the format. A change that a reader must know of has another number.
pub const FORMAT: &str = "steep results 1";

/// Everything that one run of the program found out: the file.
#[derive(Debug, Clone, Serialize)]
pub struct Results {
    /// [`FORMAT`].
    pub format: &'static str,
    /// Of this crate.
    pub version: &'static str,
    /// The day, in UTC: `2026-01-31`.
    pub date: String,
    /// What the devices are part of.
    pub machine: Machine,
    /// What was looked at.
    pub devices: Vec<OnDevice>,
}

/// What was found out about one device. Lists are empty where nothing of the kind was asked for.
#[derive(Debug, Clone, Serialize)]
pub struct OnDevice {
    /// What `--device` takes: `wgpu:0`.
    pub name: String,
    /// For people.
    pub description: String,
    /// What it is.
    pub facts: Facts,
    /// The best copy in 10⁹ bytes per second, measured before what was timed; None where nothing was.
    pub copy_gbps: Option<f64>,
    /// The best large matrix product in 10⁹ operations per second, likewise.
    pub matmul_gflops: Option<f64>,
    /// Ops with their sources: right or wrong.
    pub verified: Vec<Verified>,
    /// Ops with their sources and shapes: how fast.
    pub timed: Vec<Timed>,
    /// The record of a cached run, as `steep generate --json` writes it.
    pub run: Option<Value>,
}

impl Results {
    /// Of today and this machine, without a device.
    pub fn new(machine: Machine) -> Results {
        let (version, date) = (env!("CARGO_PKG_VERSION"), machine::today());
        Results { format: FORMAT, version, date, machine, devices: vec![] }
    }
}

impl OnDevice {
    /// Measures the two ceilings, which the rows to come will stand beside.
    ///
    /// # Errors
    ///
    /// If the device fails.
    pub async fn measure(&mut self, ceilings: &mut Ceilings) -> Result<()> {
        self.copy_gbps = Some(ceilings.measure(Bound::Copy, 0.3).await? / 1e9);
        self.matmul_gflops = Some(ceilings.measure(Bound::Matmul, 0.3).await? / 1e9);
        Ok(())
    }

    /// Of a device, without findings.
    pub fn new(device: &Device) -> OnDevice {
        let (name, description) = (device.name(), device.describe());
        OnDevice {
            name,
            description,
            facts: device.facts(),
            copy_gbps: None,
            matmul_gflops: None,
            verified: vec![],
            timed: vec![],
            run: None,
        }
    }
}

/// What is told while the work goes on. Returning an error ends the work with it.
pub type Watch<'a> = &'a mut dyn FnMut(Seen<'_>) -> Result<()>;

/// Something that has just happened.
pub enum Seen<'a> {
    /// This op's case is next, or its next round.
    Next {
        /// The op.
        op: &'a str,
        /// The case.
        shape: &'a str,
        /// What is done before it.
        done: usize,
        /// What there is in all, in the same unit.
        of: usize,
    },
    /// A source's cases are all done.
    Verified(&'a Verified),
    /// A source was timed with a shape.
    Timed(&'a Timed),
}
