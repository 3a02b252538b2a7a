//! The cases, one file per op.

use super::{Case, Cases, Pair, Values, normal, tolerance};

mod attention;
mod denoise;
mod label_embed;
mod linear;
mod modulate;
mod modulate_rel_l1;
mod patch_embed;
mod rel_l1;
mod residual_reuse;
mod residual_store;
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
    ("residual_store", residual_store::cases),
    ("residual_reuse", residual_reuse::cases),
    ("denoise", denoise::cases),
];
