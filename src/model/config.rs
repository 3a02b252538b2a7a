//! What a checkpoint says about itself.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::ops::{EPSILON, FREQUENCIES};
use crate::{Error, Result};

/// The shape of a model: JSON in the checkpoint's metadata under `config`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// Frames of a clip.
    pub frames: usize,
    /// Pixels (or latents) of a frame, top to bottom.
    pub height: usize,
    /// Pixels (or latents) of a frame, left to right.
    pub width: usize,
    /// Channels of a frame.
    pub channels: usize,
    /// Side of a square patch.
    pub patch: usize,
    /// Channels of a token, d.
    pub dim: usize,
    /// Transformer blocks.
    pub depth: usize,
    /// Attention heads.
    pub heads: usize,
    /// Width of the MLP in units of d.
    pub mlp_ratio: usize,
    /// Classes, without the "no class" of guidance; 0 where clips are of no class.
    pub classes: usize,
    /// Whether odd blocks attend over frames (Latte) or all over tokens (DiT).
    pub temporal: bool,
    /// Whether the head also predicts variances, which samplers here leave unused.
    pub learn_sigma: bool,
    /// What the head predicts.
    pub prediction: Prediction,
    /// ε of the layer norm before a block's MLP: 1e-6 in facebook/DiT and Latte, diffusers' `norm_eps`. All other norms
    /// have 1e-6 in both.
    #[serde(default = "Config::default_mlp_epsilon", skip_serializing_if = "Config::is_default_mlp_epsilon")]
    pub mlp_epsilon: f32,
    /// What the exponents of time's sinusoids are divided by: 128 in facebook/DiT and Latte, 127 in diffusers' DiT.
    #[serde(
        default = "Config::default_time_divisor",
        skip_serializing_if = "Config::is_default_time_divisor"
    )]
    pub time_divisor: f32,
    /// How many channels guidance moves, from the first on, where these are not all: 3 in facebook/DiT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guided: Option<usize>,
}

/// What a model predicts, and so which sampler it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Prediction {
    /// v = noise − x along z_t = (1 − t)·x + t·noise: rectified flow, Euler steps.
    Velocity,
    /// The noise in z_t = √ᾱ·x + √(1 − ᾱ)·ε: DDIM steps.
    Epsilon,
}

/// What a field of a configuration may be.
enum Kind {
    /// A whole number from the first to the second.
    Number(usize, usize),
    /// The same, or not there.
    Optional(usize, usize),
    /// A number above 0, or not there.
    Positive,
    Boolean,
    Prediction,
}

pub(super) struct Field {
    pub name: &'static str,
    kind: Kind,
}

/// Far above any model, and low enough that no product of sizes overflows.
const MOST: usize = 1 << 16;
/// Of depth there is a list of tensors to make before the file can be compared with it.
const DEEPEST: usize = 1 << 10;

/// Every field of a [`Config`].
pub(super) const FIELDS: [Field; 16] = [
    Field { name: "frames", kind: Kind::Number(1, MOST) },
    Field { name: "height", kind: Kind::Number(1, MOST) },
    Field { name: "width", kind: Kind::Number(1, MOST) },
    Field { name: "channels", kind: Kind::Number(1, MOST) },
    Field { name: "patch", kind: Kind::Number(1, MOST) },
    Field { name: "dim", kind: Kind::Number(1, MOST) },
    Field { name: "depth", kind: Kind::Number(1, DEEPEST) },
    Field { name: "heads", kind: Kind::Number(1, MOST) },
    Field { name: "mlp_ratio", kind: Kind::Number(1, MOST) },
    Field { name: "classes", kind: Kind::Number(0, MOST) },
    Field { name: "temporal", kind: Kind::Boolean },
    Field { name: "learn_sigma", kind: Kind::Boolean },
    Field { name: "prediction", kind: Kind::Prediction },
    Field { name: "mlp_epsilon", kind: Kind::Positive },
    Field { name: "time_divisor", kind: Kind::Positive },
    Field { name: "guided", kind: Kind::Optional(1, MOST) },
];

impl Field {
    /// What is wrong with this field among `fields`, if anything is.
    fn fault(&self, fields: &Map<String, Value>) -> Option<String> {
        let (right, wanted) = match (&self.kind, fields.get(self.name)) {
            (Kind::Optional(..) | Kind::Positive, None) => return None,
            (Kind::Number(least, most) | Kind::Optional(least, most), value) => {
                let number = value.and_then(Value::as_u64);
                (
                    number.is_some_and(|n| (*least as u64..=*most as u64).contains(&n)),
                    format!("a whole number, {least} to {most}"),
                )
            }
            (Kind::Positive, value) => {
                let number = value.and_then(Value::as_f64);
                (
                    number.is_some_and(|x| (x as f32) > 0.0 && (x as f32).is_finite()),
                    "a number above 0".into(),
                )
            }
            (Kind::Boolean, value) => (value.is_some_and(Value::is_boolean), "true or false".into()),
            (Kind::Prediction, value) => {
                let known = value.is_some_and(|v| Prediction::deserialize(v).is_ok());
                (known, "\"velocity\" or \"epsilon\"".into())
            }
        };
        let got = fields.get(self.name).map_or("is missing".into(), Value::to_string);
        (!right).then(|| format!("{} {got} (wanted {wanted})", self.name))
    }
}

impl Config {
    /// The shipped model's configuration, with every field, as a checkpoint's metadata has it under `config`.
    pub const EXAMPLE: &str = r#"{"frames": 16, "height": 32, "width": 32, "channels": 1, "patch": 8, "dim": 192, "depth": 6, "heads": 3, "mlp_ratio": 4, "classes": 10, "temporal": true, "learn_sigma": false, "prediction": "velocity"}"#;

    /// Parses and checks a configuration. One error says all that is wrong with it.
    pub fn from_json(json: &str) -> Result<Config> {
        let wrong =
            |why: String| Error::setting(format!("config: {why}"), format!("as in {}", Config::EXAMPLE));
        let json = json.strip_prefix('\u{feff}').unwrap_or(json);
        let value: Value = serde_json::from_str(json).map_err(|e| wrong(format!("not JSON: {e}")))?;
        let fields = value.as_object().ok_or_else(|| wrong("not a JSON object".into()))?;
        let faults: Vec<String> = FIELDS.iter().filter_map(|field| field.fault(fields)).collect();
        if !faults.is_empty() {
            return Err(wrong(faults.join("; ")));
        }
        let config: Config = serde_json::from_value(value).map_err(|e| wrong(e.to_string()))?;
        config.check()?;
        Ok(config)
    }

    /// Checks what depends on two fields.
    fn check(&self) -> Result<()> {
        let divisions = [
            ("height", self.height, "patch", self.patch),
            ("width", self.width, "patch", self.patch),
            ("dim", self.dim, "heads", self.heads),
        ];
        let faults = divisions.into_iter().filter(|(_, value, _, divisor)| value % divisor != 0);
        let faults: Vec<String> = faults
            .map(|(name, value, of, divisor)| {
                format!("{name} {value} (wanted a multiple of {of}, {divisor})")
            })
            .collect();
        match faults.is_empty() {
            true => Ok(()),
            false => {
                Err(Error::setting(format!("config: {}", faults.join("; ")), "whole patches and whole heads"))
            }
        }
    }

    /// Tokens of a frame, N.
    pub fn tokens(&self) -> usize {
        (self.height / self.patch) * (self.width / self.patch)
    }

    /// Values of modulation for a sample at one step: six chunks of d for each block and two for the head (adaLN-Zero).
    pub fn modulation(&self) -> usize {
        (6 * self.depth + 2) * self.dim
    }

    /// Channels of a clip that guidance moves.
    pub fn guided_channels(&self) -> usize {
        self.guided.unwrap_or(self.channels).min(self.channels)
    }

    fn default_mlp_epsilon() -> f32 {
        EPSILON
    }

    fn is_default_mlp_epsilon(x: &f32) -> bool {
        *x == Config::default_mlp_epsilon()
    }

    fn default_time_divisor() -> f32 {
        FREQUENCIES as f32
    }

    fn is_default_time_divisor(x: &f32) -> bool {
        *x == Config::default_time_divisor()
    }

    /// Channels that the head predicts.
    pub fn out_channels(&self) -> usize {
        self.channels * if self.learn_sigma { 2 } else { 1 }
    }

    /// Values of one clip.
    pub fn clip(&self) -> usize {
        self.frames * self.channels * self.height * self.width
    }

    /// The labels of clips that differ: the classes, or the one of a model that has none.
    pub fn labels(&self) -> usize {
        self.classes.max(1)
    }

    /// The label that means "no class".
    pub fn unconditional(&self) -> usize {
        self.classes
    }

    /// Multiplications and additions of one evaluation of the whole model for `batch` clips: those of the condition, the
    /// [`blocks`](Self::block_flops), and the two ends of the model.
    pub fn flops(&self, batch: usize) -> u64 {
        let (d, rows) = (self.dim as u64, (batch * self.frames * self.tokens()) as u64);
        let pixels = (self.patch * self.patch) as u64;
        let ends = (self.channels + self.out_channels()) as u64 * pixels;
        2 * rows * d * ends + self.condition_flops(batch) + self.block_flops(batch)
    }

    /// Those of what depends on time and condition alone: the embedding of time, and modulation. A run does them once
    /// for all of its steps.
    pub fn condition_flops(&self, batch: usize) -> u64 {
        let d = self.dim as u64;
        2 * batch as u64 * (256 * d + d * d + d * self.modulation() as u64)
    }

    /// Those of the transformer blocks alone, which a skipped step does without.
    pub fn block_flops(&self, batch: usize) -> u64 {
        let (d, rows) = (self.dim as u64, (batch * self.frames * self.tokens()) as u64);
        let matrices = rows * d * d * (4 + 2 * self.mlp_ratio as u64);
        let attention = |length: usize| 2 * rows * d * length as u64;
        let temporal = if self.temporal { self.depth / 2 } else { 0 };
        let spatial = (self.depth - temporal) as u64;
        let attention = spatial * attention(self.tokens()) + temporal as u64 * attention(self.frames);
        2 * (self.depth as u64 * matrices + attention)
    }
}
