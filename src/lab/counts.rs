//! What one call of a CUDA kernel does, counted by the emulator: the numbers of a GPU's profiler that follow from addresses.
//!
//! The lanes of a warp that execute one instruction for the nth time form one access of the warp. That is exact where they
//! take one path together, and an estimate where they part.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::cases::Case;
use crate::cases::bench::Bench;
use crate::{Device, Error, Result};

/// Bytes of a sector, the unit in which caches and memory are filled.
pub const SECTOR: u64 = 32;

/// A launch, counted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    /// The macros that the kernel was compiled with, between spaces.
    pub defines: String,
    /// Blocks of the grid.
    pub blocks: u64,
    /// Threads of a block.
    pub threads: u64,
    /// Bytes of global memory that are read, each sector once.
    pub read_bytes: u64,
    /// Bytes of global memory that are written, each sector once.
    pub written_bytes: u64,
    /// What is done at each line, the worst first.
    pub rows: Vec<Row>,
}

/// One kind of thing that is done at one line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What is done.
    pub kind: Kind,
    /// `FILE:LINE` of the kernel; where that line calls a function of an included file, `FILE:LINE, in HEADER:LINE`.
    pub place: String,
    /// How often a warp does it.
    pub count: u64,
    /// How many lanes do it, of 32 for each.
    pub lanes: u64,
    /// Bytes that the lanes ask for.
    pub bytes: u64,
    /// What the hardware moves for them: of global memory, sectors of 32 bytes; of shared memory, rounds in which each of 32
    /// banks gives 4 bytes.
    pub moved: u64,
    /// The least of them that could hold these bytes.
    pub least: u64,
    /// Of barriers: what warps could have done while they waited, in accesses and instructions of warps.
    pub idle: u64,
    /// Of barriers: what they could have done in all.
    pub slots: u64,
}

/// The kinds of things that are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A read of global memory.
    #[serde(rename = "global read")]
    GlobalRead,
    /// A write to global memory.
    #[serde(rename = "global write")]
    GlobalWrite,
    /// A read of shared memory.
    #[serde(rename = "shared read")]
    SharedRead,
    /// A write to shared memory.
    #[serde(rename = "shared write")]
    SharedWrite,
    /// An atomic operation.
    Atomic,
    /// A barrier of a block.
    Barrier,
    /// A shuffle, a vote, or a barrier of a warp.
    Exchange,
    /// A product of 16×8×16 on the tensor cores.
    Mma,
    /// A special function: a root, an exponential, a fast quotient.
    Special,
}

impl Kind {
    /// As it is printed.
    pub fn name(self) -> &'static str {
        match self {
            Kind::GlobalRead => "global read",
            Kind::GlobalWrite => "global write",
            Kind::SharedRead => "shared read",
            Kind::SharedWrite => "shared write",
            Kind::Atomic => "atomic",
            Kind::Barrier => "barrier",
            Kind::Exchange => "exchange",
            Kind::Mma => "mma",
            Kind::Special => "special",
        }
    }

    /// Whether it moves sectors of global memory.
    pub fn is_global(self) -> bool {
        matches!(self, Kind::GlobalRead | Kind::GlobalWrite | Kind::Atomic)
    }

    /// Whether it moves rounds of shared memory.
    pub fn is_shared(self) -> bool {
        matches!(self, Kind::SharedRead | Kind::SharedWrite)
    }
}

impl Row {
    /// Cycles of a multiprocessor that need not be: a round of shared memory takes one, a sector half of one.
    pub fn wasted(&self) -> f64 {
        let more = (self.moved - self.least.min(self.moved)) as f64;
        if self.kind.is_shared() { more } else { 0.5 * more }
    }

    /// Sectors or rounds of an access.
    pub fn each(&self) -> f64 {
        self.moved as f64 / self.count.max(1) as f64
    }

    /// Lanes of an access.
    pub fn active(&self) -> f64 {
        self.lanes as f64 / self.count.max(1) as f64
    }
}

impl Counts {
    /// What the emulator wrote of the last launch.
    ///
    /// # Errors
    ///
    /// If the text has no launch.
    pub fn parse(text: &str) -> Result<Counts> {
        let last = text.lines().last().unwrap_or_default();
        let wrong = |e: serde_json::Error| Error::device("emulator", format!("its counts: {e}"));
        let mut counts: Counts = serde_json::from_str(last).map_err(wrong)?;
        // Several instructions of a line are one row.
        let mut lines: BTreeMap<(Kind, String), Row> = BTreeMap::new();
        for row in counts.rows.drain(..) {
            match lines.entry((row.kind, row.place.clone())) {
                std::collections::btree_map::Entry::Vacant(free) => {
                    free.insert(row);
                }
                std::collections::btree_map::Entry::Occupied(mut found) => {
                    let sum = found.get_mut();
                    sum.count += row.count;
                    sum.lanes += row.lanes;
                    sum.bytes += row.bytes;
                    sum.moved += row.moved;
                    sum.least += row.least;
                    sum.idle += row.idle;
                    sum.slots += row.slots;
                }
            }
        }
        counts.rows = lines.into_values().collect();
        let cost = |row: &Row| (row.wasted(), row.moved as f64, row.count);
        counts.rows.sort_by(|a, b| cost(b).partial_cmp(&cost(a)).unwrap_or(std::cmp::Ordering::Equal));
        Ok(counts)
    }

    /// The sum of a number over the rows of some kinds.
    pub fn sum(&self, of: impl Fn(Kind) -> bool, number: impl Fn(&Row) -> u64) -> u64 {
        self.rows.iter().filter(|row| of(row.kind)).map(number).sum()
    }

    /// How often warps do something of this kind.
    pub fn count(&self, kind: Kind) -> u64 {
        self.sum(|k| k == kind, |row| row.count)
    }

    /// The share of what lanes ask for in the sectors of global memory that are moved for them, 0 to 1.
    pub fn coalesced(&self) -> f64 {
        let moved = self.sum(Kind::is_global, |row| row.moved);
        if moved == 0 { 1.0 } else { self.sum(Kind::is_global, |row| row.least) as f64 / moved as f64 }
    }

    /// Rounds of shared memory for each that would do, from 1.
    pub fn conflicts(&self) -> f64 {
        let least = self.sum(Kind::is_shared, |row| row.least);
        if least == 0 { 1.0 } else { self.sum(Kind::is_shared, |row| row.moved) as f64 / least as f64 }
    }

    /// The share of a warp's lanes that take part in what it does, 0 to 1.
    pub fn active(&self) -> f64 {
        let count = self.sum(|_| true, |row| row.count);
        self.sum(|_| true, |row| row.lanes) as f64 / (32 * count.max(1)) as f64
    }

    /// The share of their time, counted in accesses and instructions, that warps wait at barriers, 0 to 1.
    pub fn idle(&self) -> f64 {
        self.sum(|_| true, |row| row.idle) as f64 / self.sum(|_| true, |row| row.slots).max(1) as f64
    }
}

/// Runs a case once with a source on an emulated GPU, and returns what was counted; `None` where the source does not take the
/// case. `file` is the path that the process was started with as `EMULATOR_COUNTERS`; nothing may be there.
///
/// # Errors
///
/// If the result is wrong, the device fails, or nothing was counted.
pub async fn count(device: &Device, case: Case, source: &'static str, file: &Path) -> Result<Option<Counts>> {
    let (text, verified) = watched(device, case, source, file).await?;
    if verified? { Counts::parse(&text).map(Some) } else { Ok(None) }
}

/// Runs a case once with a source on an emulated GPU, and returns who did what at which line, in tab-separated columns: the
/// place, the threads, and what they did. `None` where the source does not take the case. `file` is the path that the process was started with as `EMULATOR_TRACE_TO`. A
/// fault ends the trace.
///
/// # Errors
///
/// If there is no memory for the operands, or the file cannot be written.
pub async fn trace(device: &Device, case: Case, source: &'static str, file: &Path) -> Result<Option<String>> {
    let (text, ended) = watched(device, case, source, file).await?;
    if ended.is_err() {
        let _ = device.recover();
    }
    Ok(ended.unwrap_or(true).then_some(text))
}

/// What the emulator writes to a file while a case runs once; and whether the source took the case, or what went wrong.
async fn watched(
    device: &Device,
    case: Case,
    source: &'static str,
    file: &Path,
) -> Result<(String, Result<bool>)> {
    let mut bench = Bench::new(device, case)?;
    // The emulator looks whether the file is there.
    std::fs::write(file, "").map_err(|e| Error::file(file, e))?;
    device.prefer(Some(source));
    let verified = bench.verify().await;
    device.prefer(None);
    let text = std::fs::read_to_string(file).map_err(|e| Error::file(file, e));
    let _ = std::fs::remove_file(file);
    Ok((text?, verified.map(|_| bench.took(source))))
}

/// What was counted, of which kernel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Counted {
    /// The op.
    pub op: String,
    /// Which of its sources, or [`LABEL`](super::LABEL).
    pub source: String,
    /// The type of the matrix operands.
    pub dtype: String,
    /// The case: a shape, and what is special about it.
    pub case: String,
    /// The numbers.
    pub counts: Counts,
}

impl Counted {
    /// The first of some cases that a source takes, counted; see [`count`]. `None` where it takes none.
    ///
    /// # Errors
    ///
    /// As of [`count`].
    pub async fn first(
        device: &Device,
        cases: Vec<Case>,
        source: &'static str,
        file: &Path,
    ) -> Result<Option<Counted>> {
        for case in cases {
            let (op, dtype, name) = (case.kernel.name.to_string(), case.dtype.to_string(), case.name.clone());
            if let Some(counts) = count(device, case, source, file).await? {
                return Ok(Some(Counted { op, source: source.into(), dtype, case: name, counts }));
            }
        }
        Ok(None)
    }
}
