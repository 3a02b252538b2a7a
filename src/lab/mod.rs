//! The kernel lab: somebody's kernel in a file, tried as the crate's own are.
//!
//! A file holds one kernel of one of the [ops](crate::ops), in WGSL or in CUDA C++, and says in comments how it is launched:
//!
//! ```text
//! // steep: tile = 1, 1, 64
//! // steep: threads = 64
//! ```
//!
//! Its [`Candidate`] goes through all cases of the op ([`crate::cases`]) on a device: [`trial`]. What is wrong comes back as
//! data, a [`Report`]. Nothing here waits, so a browser can do it too.
//!
#![doc = include_str!("header.md")]

mod candidate;
pub mod counts;
#[cfg(feature = "cuda")]
pub mod emulator;
pub mod estimate;
mod header;
mod report;
pub mod sass;
mod starter;
mod timing;
mod trial;

pub use candidate::{Candidate, LABEL, Language, as_file};

pub use report::{Finding, Kind, Place, Report};
pub use starter::starter;
pub use timing::{Ratio, time};
pub use trial::{Filter, Progress, trial};
