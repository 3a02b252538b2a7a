//! What a GPU is tried with when it is opened: a kernel, and then conditional nodes of graphs.
//!
//! Nothing that is opened fails at its first op. A driver may not load what a newer compiler made, or lack what another
//! one promises: then the GPU is not opened, or graphs are plain, in which each gated call looks at the flag for itself.
//!
//! The trial of conditional nodes goes through the queue that runs use: calls in the body of a node must run when the
//! flag says so, must not when it does not, and must be counted either way.

use cudarc::driver::result::{self, DriverError};

use super::condition::Condition;
use super::memory::Buffer;
use super::modules::Function;
use super::nvrtc::{Unit, source_of};
use super::queue::{GateArgument, Launch, Queue, WORTH_A_BODY, WORTH_A_GRAPH};
use super::{Cuda, words};
use crate::{Error, Result};

/// Any number.
const AMOUNT: u32 = 12345;

/// The kernels that belong to no op.
pub const UNITS: [Unit; 2] = [
    Unit { file: "condition.cu", text: include_str!("../../../kernels/condition.cu"), defines: vec![] },
    Unit { file: "counted.cu", text: include_str!("../../../kernels/counted.cu"), defines: vec![] },
];

impl Cuda {
    /// A kernel that belongs to no op, for one thread.
    fn single(&self, op: &'static str, unit: &Unit) -> Result<Function> {
        Ok(Function { raw: self.load(op, op, unit)?, op, threads: 1, shared: 0 })
    }

    fn zeros(&self, bytes: usize) -> Result<Buffer, DriverError> {
        let buffer = self.context.take(bytes)?;
        // SAFETY: as many bytes as were just allocated.
        unsafe { result::memset_d8_async(buffer.at, 0, bytes, self.stream) }?;
        Ok(buffer)
    }

    /// Compiles, loads and runs a kernel. What does not work here would not work later either: an error has the cause, and
    /// which compiler the driver wants where that may be it.
    pub(super) fn try_kernel(&self) -> Result<()> {
        let ran = self.single("counted", &UNITS[1]).and_then(|counted| {
            self.run_once(counted).map_err(|e| self.error(words(e))).and_then(|found| match found {
                AMOUNT => Ok(()),
                found => Err(self.error(format!("a kernel that adds {AMOUNT} to 0 left {found}"))),
            })
        });
        ran.map_err(|e| {
            let (why, (major, minor)) = (cause(&e), self.nvrtc.version);
            let driver = self.version / 1000;
            let way_out = match major > driver {
                true => format!(": {}", source_of(driver)),
                false => String::new(),
            };
            self.error(format!(
                "no kernel runs here: {why} (code for {} by NVRTC {major}.{minor}, a driver for CUDA {driver}.{}{way_out})",
                self.target,
                self.version % 1000 / 10
            ))
        })
    }

    /// What one launch of the kernel adds to zero.
    fn run_once(&self, counted: Function) -> Result<u32, DriverError> {
        let sum = self.zeros(4)?;
        let gate = GateArgument { flag: 0, tally: self.tally.at, want: 0, padding: 0 };
        let mut queue = Queue::default();
        queue.push(Launch::new(counted, [1, 1, 1], [sum.at].into_iter(), &AMOUNT.to_ne_bytes(), gate));
        queue.flush(self.stream).map_err(|(_, e)| e)?;
        let mut found = [0u32];
        // SAFETY: four bytes, which stay where they are until the stream is empty.
        unsafe {
            result::memcpy_dtoh_async(&mut found, sum.at, self.stream)?;
            result::stream::synchronize(self.stream)?;
        }
        Ok(found[0])
    }

    /// Tries conditional nodes. An error says what the driver or the compiler said, or what went wrong.
    pub(super) fn try_condition(&self) -> Result<Condition> {
        let wrong = |why: String| {
            let way_out = "STEEP_GRAPH=plain goes without them";
            self.error(format!("conditional graph nodes do not work here: {why} ({way_out})"))
        };
        let failed = |e| wrong(words(e));
        let [condition, counted] = &UNITS;
        let counted = self.single("counted", counted)?;
        let condition =
            Condition { function: self.single("condition", condition)?, context: self.context.raw };
        let (flag, sum, tally) =
            (self.zeros(4).map_err(failed)?, self.zeros(4).map_err(failed)?, self.zeros(8).map_err(failed)?);
        let mut queue = Queue::default();
        queue.condition = Some(condition);
        let mut expected = [0u32; 3];
        // The first time, calls go one by one. Then the graph sees the flag change and stay.
        for set in [0, 1, 1, 0, 0, 1] {
            // SAFETY: the lowest byte of four.
            unsafe { result::memset_d8_async(flag.at, set, 1, self.stream) }.map_err(failed)?;
            for i in 0..WORTH_A_GRAPH {
                let want = u32::from(i >= WORTH_A_BODY);
                let gate = GateArgument { flag: flag.at, tally: tally.at, want, padding: 0 };
                let amount = 1u32 << i;
                let sum = [sum.at].into_iter();
                queue.push(Launch::new(counted, [1, 1, 1], sum, &amount.to_ne_bytes(), gate));
                let ran = u32::from(set) == want;
                expected[0] += if ran { amount } else { 0 };
                expected[if ran { 1 } else { 2 }] += 1;
            }
            queue.flush(self.stream).map_err(|(_, e)| failed(e))?;
            let mut found = [0u32; 3];
            let (total, counts) = found.split_at_mut(1);
            // SAFETY: no longer than the buffers; the memory stays where it is until the stream is empty.
            unsafe {
                result::memcpy_dtoh_async(total, sum.at, self.stream).map_err(failed)?;
                result::memcpy_dtoh_async(counts, tally.at, self.stream).map_err(failed)?;
                result::stream::synchronize(self.stream).map_err(failed)?;
            }
            if found != expected {
                let [_, ran, skipped] = found;
                let [_, should_run, should_skip] = expected;
                return Err(wrong(format!(
                    "{ran} calls ran and {skipped} did not, wanted {should_run} and {should_skip}"
                )));
            }
        }
        Ok(condition)
    }
}

/// What an error of a device says, without the device.
fn cause(error: &Error) -> String {
    match error {
        Error::Device { device, why } if device == "NVRTC" => format!("NVRTC: {why}"),
        Error::Device { why, .. } => why.to_string(),
        other => other.to_string(),
    }
}
