//! The cases, one file per op.

use super::{Case, Cases, Pair, Values, normal, tolerance};

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
mod spectral_filter;
mod tea_gate;
mod temporal_embed;
mod time_embed;

/// Every op's cases, by name, in the order of [`steep::ops::ALL`].
pub static ALL: &[(&str, Cases)] = &[
    ("patch_embed", patch_embed::cases),
    ("time_embed", time_embed::cases),
    ("label_embed", label_embed::cases),
    ("temporal_embed", temporal_embed::cases),
    ("linear", linear::cases),
    ("modulate", modulate::cases),
    ("attention", attention::cases),
    ("rel_l1", rel_l1::cases),
    ("modulate_rel_l1", modulate_rel_l1::cases),
    ("tea_gate", tea_gate::cases),
    ("axpby", axpby::cases),
    ("residual_extrapolate", residual_extrapolate::cases),
    ("residual_distance", residual_distance::cases),
    ("spectral_filter", spectral_filter::cases),
    ("easy_distance", easy_distance::cases),
    ("norm_ratio", norm_ratio::cases),
    ("denoise", denoise::cases),
];
