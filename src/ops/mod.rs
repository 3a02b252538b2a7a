//! The ops: each checks its arguments, then makes one [`Call`](crate::device::Call).
//!
//! One op, one stem: `modulate` is `src/ops/modulate.rs`, and its cases are `src/cases/modulate.rs`.
//! In signatures, what is written comes first; `gate` says [when](crate::device::Gate) the op does its work.
//! Dimensions: B samples, F frames, N tokens of a frame, d channels, T the dtype of matrix operands.

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
    temporal_embed: TEMPORAL_EMBED, temporal_embed;
    linear: LINEAR, Epilogue, linear;
    modulate: MODULATE, Chunks, modulate;
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
}
