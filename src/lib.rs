//! A compact video diffusion transformer with the TeaCache loop, on its own minimal tensor runtime.
//!
//! TeaCache (arXiv 2411.19108) makes video diffusion faster without training: it skips the transformer on steps where its
//! input has hardly moved, and reuses what the transformer added last time. [`generate()`] is the one call that makes
//! clips:
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # pollster::block_on(async {
//! use steep::{Device, generate, model::Dit};
//!
//! let device = Device::open("auto").await?;
//! let model = Dit::shipped(&device)?;
//! let uncached = generate(&model).class(7).seed(3);
//! let cached = uncached.clone().cache("tea:0.1:identity".parse()?);
//! let run = cached.run().await?;
//! println!("{} of {} steps computed", run.computed(), run.steps.len());
//! std::fs::write("seven.gif", run.videos()?[0].picture(8)?.gif(8)?)?;
//! # Ok(())
//! # })
//! # }
//! ```
//!
//! # What is where
//!
//! | module | what it holds |
//! |---|---|
//! | [`ops`] | the ops, each in Rust, WGSL and CUDA C++ |
//! | [`cases`] | what must be true of each op, as data: tests, benches and the CUDA emulator run it |
//! | [`lab`] | a kernel of your own, from a file: tried as the crate's own are |
//! | [`device`] | the executors: CPU, any GPU through wgpu, NVIDIA GPUs; and what an op is to them |
//! | [`model`] | the model: [`model::Model`] is a trait, [`model::Dit`] is DiT and Latte |
//! | [`cache`] | which steps are skipped: a policy is four values |
//! | [`sample`] | the loop, the sampler, and watching a run |
//! | [`evaluate`] | metrics, calibration |
//! | [`results`] | what was found out about devices, right and fast, in one format |
//! | [`input`] | reading files, and knowing which ones were read |
//! | [`video`], [`plot`], [`noise`] | GIF, APNG and Y4M files; SVG charts; noise that is the same bits everywhere |
//!
//! Nothing in the library waits for a device but functions that are `async`, so it also runs where nobody may block, as in
//! a browser. Programs wait with an executor such as `pollster::block_on`.
//!
//! # Features
//!
//! - `cuda` (default): the CUDA executor. It needs nothing to build; the driver and NVRTC are looked for at run time.
//! - `cli` (default): the `steep` program and what it needs.
//! - `hub` (default): that program's way to the Hugging Face hub.

pub mod cache;
pub mod cases;
pub mod device;
mod error;
pub mod evaluate;
mod generate;
pub mod input;
pub mod lab;
mod memory;
pub mod model;
pub mod noise;
pub mod ops;
pub mod plot;
pub mod results;
pub mod sample;
mod tensor;
mod text;
pub mod video;

pub use device::Device;
pub use error::{Error, Result};
pub use generate::{Generate, generate};
pub use tensor::{DType, Shape, Tensor};
pub use text::plain;
