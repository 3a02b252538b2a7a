//! Conditional nodes of CUDA graphs, and whether they are wanted.

use cudarc::driver::sys;

use super::modules::Function;
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
