//! The ops: functions that check their arguments and then enqueue one [`Call`](crate::device::Call) of a
//! [`Kernel`].
//!
//! An op works on tensors of any one device, and never waits for it: results are there when somebody reads them. What an
//! op writes comes first in its signature, after the [`Gate`](crate::device::Gate), which says whether the op does its
//! work at all.
//!
//! ```
//! use steep::device::Gate;
//! use steep::ops::axpby;
//! use steep::{DType, Device, Tensor};
//!
//! # fn main() -> steep::Result<()> {
//! let device = Device::cpu();
//! let x = Tensor::from_f32(&device, DType::F32, [2, 2], &[1.0, 2.0, 3.0, 4.0])?;
//! let y = Tensor::from_f32(&device, DType::F32, [2, 2], &[1.0; 4])?;
//! let mut difference = Tensor::zeros(&device, DType::F32, [2, 2])?;
//! axpby(Gate::Open, &mut difference, (1.0, Some(&x)), (-1.0, &y))?;
//! assert_eq!(pollster::block_on(difference.read_f32())?, [0.0, 1.0, 2.0, 3.0]);
//! # Ok(())
//! # }
//! ```
//!
//! An op has one name in every language: `modulate` is `src/ops/modulate.rs`, `wgsl/modulate.wgsl` and
//! `kernels/modulate.cu`, its cases are `src/cases/modulate.rs`, and it is the entry point in each language. Its parameters are `struct Params` in each, with the same fields.
//! An op of your own needs no change here: see [`device`](crate::device).
//!
//! In shapes, B stands for samples, F for frames, N for the tokens of a frame, d for channels, and T for the dtype of
//! matrix operands: f32, f16 or bf16.

// CPU kernels are generic over the instruction set that they are compiled for, whether they name it or not.
#![allow(clippy::extra_unused_type_parameters)]

mod shared;

pub use shared::PARTIALS;

use crate::device::Kernel;

/// Declares the ops, one a line: `module: KERNEL, name, ..;` makes the module, re-exports these names, and puts the
/// kernel into [`ALL`].
///
/// rustfmt does not look for modules in macros: `./test` hands it the files.
macro_rules! ops {
    ($($module:ident: $kernel:ident $(, $name:ident)*;)*) => {
        $(
            mod $module;
            pub use $module::{$kernel $(, $name)*};
        )*

        /// Every op there is.
        pub static ALL: &[&Kernel] = &[$(&$kernel),*];
    };
}

ops! {
    patch_embed: PATCH_EMBED, patch_embed;
    time_embed: TIME_EMBED, FREQUENCIES, time_embed;
    label_embed: LABEL_EMBED, label_embed;
    take: TAKE, take;
    temporal_embed: TEMPORAL_EMBED, temporal_embed;
    linear: LINEAR, Epilogue, linear;
    modulate: MODULATE, Chunks, EPSILON, modulate;
    attention: ATTENTION, Over, attention;
    rel_l1: REL_L1, rel_l1;
    modulate_rel_l1: MODULATE_REL_L1, modulate_rel_l1;
    tea_gate: TEA_GATE, DECISION, Negative, TRACE_COLUMNS, TeaStep, Threshold, tea_gate;
    axpby: AXPBY, axpby;
    residual_extrapolate: RESIDUAL_EXTRAPOLATE, residual_extrapolate;
    residual_distance: RESIDUAL_DISTANCE, residual_distance;
    spectral_filter: SPECTRAL_FILTER, spectral_filter;
    easy_distance: EASY_DISTANCE, EasySums, easy_distance;
    norm_ratio: NORM_RATIO, norm_ratio;
    denoise: DENOISE, Update, denoise;
    renoise: RENOISE, renoise;
    conv2d: CONV2D, Conv2d, conv2d;
    group_norm: GROUP_NORM, group_norm;
}
