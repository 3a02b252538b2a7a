//! Conditional nodes of CUDA graphs: the kernel that decides, and a trial of both before anybody relies on them.
//!
//! The trial goes through the queue that runs use, once for each GPU that is opened: calls in the body of a node must run
//! when the flag says so, must not when it does not, and must be counted either way. A driver that fails it gets plain
//! graphs, in which each gated call looks at the flag for itself.

use cudarc::driver::{result, sys};

use super::modules::Function;
use super::nvrtc::Unit;
use super::queue::{GateArgument, Launch, Queue, WORTH_A_BODY, WORTH_A_GRAPH};
use super::{Cuda, words};
use crate::{Error, Result};

/// Conditional nodes that work.
#[derive(Clone, Copy)]
pub(super) struct Condition {
    /// `kernels/condition.cu`.
    pub function: Function,
    /// The driver wants to know it for each node.
    pub context: sys::CUcontext,
}

/// What becomes of gated calls in a graph.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Graphs {
    /// Each looks at the flag for itself.
    Plain,
    /// Conditional nodes where they work.
    Best,
    /// Conditional nodes, or an error.
    Conditional,
}

impl Graphs {
    /// What `STEEP_GRAPH` says.
    pub fn wanted() -> Result<Graphs> {
        match std::env::var("STEEP_GRAPH").as_deref() {
            Err(_) | Ok("") => Ok(Graphs::Best),
            Ok("plain") => Ok(Graphs::Plain),
            Ok("conditional") => Ok(Graphs::Conditional),
            Ok(other) => Err(Error::setting(format!("STEEP_GRAPH={other}"), "plain or conditional")),
        }
    }
}

/// The kernels that belong to no op.
pub const UNITS: [Unit; 2] = [
    Unit { file: "condition.cu", text: include_str!("../../../kernels/condition.cu"), defines: vec![] },
    Unit { file: "counted.cu", text: include_str!("../../../kernels/counted.cu"), defines: vec![] },
];

impl Cuda {
    /// Tries conditional nodes. An error says what the driver or the compiler said, or what went wrong.
    pub(super) fn try_condition(&self) -> Result<Condition> {
        let wrong = |why: String| {
            let way_out = "STEEP_GRAPH=plain goes without them";
            self.error(format!("conditional graph nodes do not work here: {why} ({way_out})"))
        };
        let failed = |e| wrong(words(e));
        let [condition, counted] = &UNITS;
        let kernel = |op, unit| Ok(Function { raw: self.load(op, op, unit)?, op, threads: 1, shared: 0 });
        let counted = kernel("counted", counted)?;
        let condition = Condition { function: kernel("condition", condition)?, context: self.context.raw };
        let zeros = |bytes| {
            let buffer = self.context.take(bytes).map_err(failed)?;
            // SAFETY: as many bytes as were just allocated.
            unsafe { result::memset_d8_async(buffer.at, 0, bytes, self.stream) }.map_err(failed)?;
            Ok(buffer)
        };
        let (flag, sum, tally) = (zeros(4)?, zeros(4)?, zeros(8)?);
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
