//! Judging clips and fitting policies: what happens around runs.
//!
//! - [`metrics`]: how far a clip is from the uncached one, and how good it is by itself;
//! - [`calibrate`]: TeaCache's polynomial, fitted to a model, and what it is bound to;
//! - [`distances`]: what a recorded run measured, to be replayed;
//! - `journal` and `files` (feature `cli`): results of long runs that survive a kill, and files that are written whole or
//!   not at all.

pub mod calibrate;
pub mod distances;
#[cfg(feature = "cli")]
pub mod files;
#[cfg(feature = "cli")]
pub mod journal;
pub mod metrics;
