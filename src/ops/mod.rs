//! The ops: each checks its arguments, then makes one [`Call`](crate::device::Call).
//!
//! One op, one stem: `modulate` is `src/ops/modulate.rs`, and its cases are `src/cases/modulate.rs`.
//! In signatures, what is written comes first; `gate` says [when](crate::device::Gate) the op does its work.
//! Dimensions: B samples, F frames, N tokens of a frame, d channels, T the dtype of matrix operands.

mod attention;
mod axpby;
mod denoise;
mod easy_distance;
mod label_embed;
mod linear;
mod modulate;
mod modulate_rel_l1;
mod norm_ratio;
mod patch_embed;
mod rel_l1;
mod residual_distance;
mod residual_extrapolate;
mod shared;
mod spectral_filter;
mod tea_gate;
mod temporal_embed;
mod time_embed;

pub use attention::{ATTENTION, Over, attention};
pub use axpby::{AXPBY, axpby};
pub use denoise::{DENOISE, Update, denoise};
pub use easy_distance::{EASY_DISTANCE, EasySums, easy_distance};
pub use label_embed::{LABEL_EMBED, label_embed};
pub use linear::{Epilogue, LINEAR, linear};
pub use modulate::{Chunks, MODULATE, modulate};
pub use modulate_rel_l1::{MODULATE_REL_L1, modulate_rel_l1};
pub use norm_ratio::{NORM_RATIO, norm_ratio};
pub use patch_embed::{PATCH_EMBED, patch_embed};
pub use rel_l1::{REL_L1, rel_l1};
pub use residual_distance::{RESIDUAL_DISTANCE, residual_distance};
pub use residual_extrapolate::{RESIDUAL_EXTRAPOLATE, residual_extrapolate};
pub use shared::PARTIALS;
pub use spectral_filter::{SPECTRAL_FILTER, spectral_filter};
pub use tea_gate::{DECISION, Negative, TEA_GATE, TRACE_COLUMNS, TeaStep, Threshold, tea_gate};
pub use temporal_embed::{TEMPORAL_EMBED, temporal_embed};
pub use time_embed::{FREQUENCIES, TIME_EMBED, time_embed};

use crate::device::Kernel;

/// Every op there is.
pub static ALL: &[&Kernel] = &[
    &PATCH_EMBED,
    &TIME_EMBED,
    &LABEL_EMBED,
    &TEMPORAL_EMBED,
    &LINEAR,
    &MODULATE,
    &ATTENTION,
    &REL_L1,
    &MODULATE_REL_L1,
    &TEA_GATE,
    &AXPBY,
    &RESIDUAL_EXTRAPOLATE,
    &RESIDUAL_DISTANCE,
    &SPECTRAL_FILTER,
    &EASY_DISTANCE,
    &NORM_RATIO,
    &DENOISE,
];
