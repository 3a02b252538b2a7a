//! The CUDA kernels and their executor without a GPU: kernels/*.cu, compiled as C++ and run on the CPU by a small
//! emulator, behind a library that poses as NVIDIA's driver and compiler.
//!
//! The emulator (its C++ files are next to this one) executes the very files that a GPU runs, and is strict
//! where a GPU is lenient: it checks every access, finds races whatever the order in which threads happen to
//! run, and finishes asynchronous copies as late or as early as is legal. Seeds decide on that order.
//! `cargo test --test emulator -- --nocapture` prints every measured error.

#[cfg(feature = "cuda")]
mod cases;
#[cfg(feature = "cuda")]
mod conditions;
#[cfg(feature = "cuda")]
mod counters;
#[cfg(feature = "cuda")]
mod executor;
mod faults;
#[cfg(feature = "cuda")]
mod gpus;
mod harness;
