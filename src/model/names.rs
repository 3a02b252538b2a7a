//! What published files call the tensors of a model: a table for each family of names.

use crate::ops::{EPSILON, FREQUENCIES};

/// How a family of files names the tensors, and in what its model differs from the others'.
pub(super) struct Layout {
    /// Whose names they are.
    pub whose: &'static str,
    /// The tensor that embeds patches: every file of the family has it, and no other.
    pub anchor: &'static str,
    /// Our name, which is that of facebook/DiT and Latte, and theirs, without `.weight` and `.bias`; `{i}` is the number of
    /// a block. Several of theirs are parts of ours, one below the other. A name that is not here is the same.
    names: &'static [(&'static str, &'static [&'static str])],
    /// What begins like this repeats, in every block, what block 0 has.
    copies: Option<&'static str>,
    /// ε of the norm before the MLP, unless a configuration says another.
    pub mlp_epsilon: f32,
    /// What the exponents of time's sinusoids are divided by.
    pub time_divisor: f32,
    /// Channels that guidance moves where there are no frames, if these are not all.
    pub guided: Option<usize>,
}

/// Every family.
pub(super) static LAYOUTS: [Layout; 2] = [
    Layout {
        whose: "facebook/DiT and Latte",
        anchor: "x_embedder.proj.weight",
        names: &[],
        copies: None,
        mlp_epsilon: EPSILON,
        time_divisor: FREQUENCIES as f32,
        // Its `forward_with_cfg` guides the first three, for the sake of samples that were published.
        guided: Some(3),
    },
    Layout {
        whose: "diffusers' DiTTransformer2DModel",
        anchor: "pos_embed.proj.weight",
        names: &[
            ("x_embedder.proj", &["pos_embed.proj"]),
            ("pos_embed", &["pos_embed.pos_embed"]),
            ("t_embedder.mlp.0", &["transformer_blocks.0.norm1.emb.timestep_embedder.linear_1"]),
            ("t_embedder.mlp.2", &["transformer_blocks.0.norm1.emb.timestep_embedder.linear_2"]),
            (
                "y_embedder.embedding_table",
                &["transformer_blocks.0.norm1.emb.class_embedder.embedding_table"],
            ),
            ("blocks.{i}.adaLN_modulation.1", &["transformer_blocks.{i}.norm1.linear"]),
            (
                "blocks.{i}.attn.qkv",
                &[
                    "transformer_blocks.{i}.attn1.to_q",
                    "transformer_blocks.{i}.attn1.to_k",
                    "transformer_blocks.{i}.attn1.to_v",
                ],
            ),
            ("blocks.{i}.attn.proj", &["transformer_blocks.{i}.attn1.to_out.0"]),
            ("blocks.{i}.mlp.fc1", &["transformer_blocks.{i}.ff.net.0.proj"]),
            ("blocks.{i}.mlp.fc2", &["transformer_blocks.{i}.ff.net.2"]),
            ("final_layer.adaLN_modulation.1", &["proj_out_1"]),
            ("final_layer.linear", &["proj_out_2"]),
        ],
        copies: Some("transformer_blocks.{i}.norm1.emb."),
        mlp_epsilon: 1e-5,
        time_divisor: 127.0,
        guided: None,
    },
];

/// Tensors that tell what a file is that is no model of ours.
pub(super) const OTHERS: [(&str, &str); 8] = [
    ("caption_projection.linear_1.weight", "a transformer conditioned by text (Latte-1, PixArt)"),
    ("adaln_single.linear.weight", "a transformer with adaLN-single (Latte-1, PixArt)"),
    ("spatial_blocks.0.scale_shift_table", "Open-Sora's STDiT3"),
    ("text_embedding_projection.1.weight", "Latte conditioned by text"),
    ("patch_embedding.weight", "Wan"),
    ("decoder.conv_in.weight", "an autoencoder (VAE), whose decoder `--vae` takes"),
    ("double_blocks.0.img_attn.qkv.weight", "FLUX or HunyuanVideo"),
    ("conv_in.weight", "a U-Net, as Stable Diffusion's"),
];

/// A name with the number of its block replaced, and the number: `blocks.3.attn` is `blocks.{i}.attn` and 3.
fn numbered(name: &str) -> Option<(String, &str)> {
    let mut parts = name.split('.');
    let number = parts.by_ref().find(|part| part.parse::<usize>().is_ok())?;
    let at = number.as_ptr() as usize - name.as_ptr() as usize;
    Some((format!("{}{{i}}{}", &name[..at], &name[at + number.len()..]), number))
}

impl Layout {
    /// What a file of this family calls our tensor `ours`: several names where it is stored in parts.
    pub fn stored(&self, ours: &str) -> Vec<String> {
        let ends = [".weight", ".bias"].into_iter().find(|end| ours.ends_with(end)).unwrap_or("");
        let stem = ours.strip_suffix(ends).unwrap_or(ours);
        let block = stem.strip_prefix("blocks.").and_then(|_| numbered(stem));
        let (pattern, number) = block.unwrap_or((stem.into(), ""));
        let known = self.names.iter().find(|(ours, _)| *ours == pattern);
        known.map_or_else(
            || vec![ours.into()],
            |(_, theirs)| theirs.iter().map(|name| name.replace("{i}", number) + ends).collect(),
        )
    }

    /// The tensor of block 0 that `stored` repeats, if it is such a copy.
    pub fn original(&self, stored: &str) -> Option<String> {
        let (pattern, number) = numbered(stored)?;
        let copied = self.copies.is_some_and(|start| pattern.starts_with(start)) && number != "0";
        copied.then(|| pattern.replace("{i}", "0"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_table() {
        let [original, diffusers] = &LAYOUTS;
        for ours in
            ["blocks.12.attn.qkv.bias", "pos_embed", "x_embedder.proj.weight", "t_embedder.mlp.0.bias"]
        {
            assert_eq!(original.stored(ours), [ours]);
        }
        for (ours, theirs) in [
            ("x_embedder.proj.weight", &["pos_embed.proj.weight"][..]),
            ("t_embedder.mlp.2.bias", &["transformer_blocks.0.norm1.emb.timestep_embedder.linear_2.bias"]),
            ("blocks.10.mlp.fc1.weight", &["transformer_blocks.10.ff.net.0.proj.weight"]),
            ("temp_embed", &["temp_embed"]),
            (
                "blocks.3.attn.qkv.bias",
                &[
                    "transformer_blocks.3.attn1.to_q.bias",
                    "transformer_blocks.3.attn1.to_k.bias",
                    "transformer_blocks.3.attn1.to_v.bias",
                ],
            ),
        ] {
            assert_eq!(diffusers.stored(ours), theirs);
        }
        let of = |i: usize| format!("transformer_blocks.{i}.norm1.emb.timestep_embedder.linear_1.weight");
        assert_eq!(diffusers.original(&of(27)), Some(of(0)));
        assert_eq!(diffusers.original(&of(0)), None);
        assert_eq!(diffusers.original("transformer_blocks.1.norm1.linear.weight"), None);
        assert_eq!(original.original(&of(1)), None);
    }
}
